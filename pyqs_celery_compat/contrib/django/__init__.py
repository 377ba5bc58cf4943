"""What Celery ships for Django, at Celery's path.

Owns: nothing itself. ``pyqs_celery_compat.django`` is ours: the app that brings ``manage.py pyqs``.
"""
