"""What Celery keeps in ``celery.utils``, at Celery's paths.

Owns: nothing itself. Runs in every process. Never a place for what Celery does not have there.
"""
