"""Celery's command line as objects, for the libraries that add commands to it or start it from their code.

Owns: nothing itself; what commands do is ``pyqs.commands``'s, which is reached through ``program``. Never loaded by a worker.
"""
