"""The loader of apps.

Owns: ``AppLoader``. Runs in every process that has an app.
"""

from __future__ import annotations

from pyqs_celery_compat.loaders.base import BaseLoader

__all__ = ["AppLoader"]


class AppLoader(BaseLoader):
    """The loader of an app that was made by ``Celery(...)``."""
