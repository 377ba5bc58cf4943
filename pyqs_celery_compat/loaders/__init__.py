"""Loaders by name: what an app asks for its configuration, its task modules and the hooks of its processes.

Owns: ``get_loader_cls``. Runs when an app makes its loader.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.utils.imports import import_from_cwd, symbol_by_name

__all__ = ["get_loader_cls"]

_PACKAGE = "pyqs_celery_compat"
LOADER_ALIASES = {"app": f"{_PACKAGE}.loaders.app:AppLoader", "default": f"{_PACKAGE}.loaders.default:Loader"}


def get_loader_cls(loader: Any) -> Any:
    """The class of ``app``, ``default`` or a dotted path; a class comes back as it is."""
    return symbol_by_name(loader, LOADER_ALIASES, imp=import_from_cwd)
