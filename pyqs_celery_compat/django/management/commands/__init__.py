"""Owns: nothing; each module is a command of ``manage.py``."""
