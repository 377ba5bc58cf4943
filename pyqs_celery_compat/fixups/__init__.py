"""What an app does by itself for the framework around it, at Celery's paths.

Owns: nothing itself. ``Celery`` applies the fixups it is given, or ``Celery.builtin_fixups``, when it is made.
"""
