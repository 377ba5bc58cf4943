"""Where results are kept, at Celery's paths. ``app/backends.py`` finds the one that ``result_backend`` names.

Owns: nothing itself.
"""
