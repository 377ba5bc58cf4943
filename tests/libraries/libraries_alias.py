"""A pytest plugin: ``celery`` is this package, before any test imports it."""

from pyqs_celery_compat import install_as_celery

install_as_celery()
