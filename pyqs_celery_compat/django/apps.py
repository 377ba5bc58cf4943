"""How Django names the app.

Owns: ``PyqsConfig``. Read in ``django.setup()``, in any process of a project. Never does anything when it is ready.
"""

from __future__ import annotations

from django.apps import AppConfig


class PyqsConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """The label is ``pyqs``: ``django`` would be taken for Django."""

    name = "pyqs_celery_compat.django"
    label = "pyqs"
    verbose_name = "pyqs"
