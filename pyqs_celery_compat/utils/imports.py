"""Importing what the user names: configuration modules, classes, task modules.

Owns: ``symbol_by_name``, ``import_task_modules``, ``autodiscover``. Runs where an app is loaded: a short-lived process, an
executor, a caller that asks for it. Imports nothing that was not named.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


def symbol_by_name(name: Any) -> Any:
    """``package.module:attribute`` or ``package.module.attribute``; anything that is not text as it is."""
    if not isinstance(name, str):
        return name
    module, separator, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if not separator:
        return importlib.import_module(name)
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def import_task_modules(app: Celery, include: Iterable[str] = ()) -> None:
    """Import ``imports``, ``include`` and what ``autodiscover_tasks`` asked for. Raises what the imports raise."""
    from pyqs_celery_compat import signals

    for _, answer in signals.import_modules.send(sender=app):
        if isinstance(answer, Exception):  # an ImportError inside a tasks module must not pass for "no tasks"
            raise answer
    wanted = [*_listed(app.conf.imports), *_listed(app.conf.include), *include]
    for module in dict.fromkeys(wanted):
        importlib.import_module(module)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def autodiscover(packages: Iterable[str], related_name: str | None) -> list[ModuleType]:
    """Import ``<package>.<related_name>`` of each package that has one. Raises what such a module raises."""
    found = (find_related_module(package, related_name) for package in packages)
    return [module for module in found if module is not None]


def find_related_module(package: str, related_name: str | None) -> ModuleType | None:
    """The module beside a package; None where there is none. A dotted Django AppConfig falls back one level."""
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        package, _, _ = package.rpartition(".")
        if not package:
            raise
        module = importlib.import_module(package)
    if not related_name:
        return module
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name == name:
            return None
        raise


def django_packages() -> list[str]:
    """Names of Django's installed apps; none without ``DJANGO_SETTINGS_MODULE``."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return []
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    return [config.name for config in apps.get_app_configs()]
