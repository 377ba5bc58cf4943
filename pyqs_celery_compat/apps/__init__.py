"""Celery's programs as classes: the worker and beat.

Owns: nothing itself. The modules below can be imported, and say on use what there is instead.
"""
