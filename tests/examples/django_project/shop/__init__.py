"""The project, as Celery's documentation lays one out: the app is loaded with Django. The first two lines are all that
moving from Celery adds; with ``PYQS_AS_CELERY=0`` they do nothing, and ``celery -A shop worker`` is Celery's own."""

from pyqs_celery_compat import install_as_celery

install_as_celery()

from .celery import app as celery_app  # noqa: E402

__all__ = ("celery_app",)
