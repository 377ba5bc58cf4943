"""A Django app: ``"pyqs_celery_compat.django"`` in ``INSTALLED_APPS`` brings ``manage.py pyqs``.

Owns: nothing itself; no model, no view. Celery's own fixup for Django needs it not to be installed.
"""
