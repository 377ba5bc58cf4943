"""What Celery ships beside itself, at Celery's paths.

Owns: nothing itself. Never a place for what Celery does not have there.
"""
