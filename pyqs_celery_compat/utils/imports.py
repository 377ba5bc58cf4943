"""Finding and importing what the user names: apps, configuration modules, task modules.

Owns: ``find_app``, ``symbol_by_name``, ``import_task_modules``. Runs where an app is loaded: a short-lived process, an
executor, a caller that asks for it. Imports nothing that was not named.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

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


def find_app(name: str, directory: str | None = None) -> Celery:
    """The app that ``-A`` names, looked for as Celery does.

    ``module:attribute`` (or ``module.attribute``) names it; for ``module`` it is the attribute ``app``, then ``celery``,
    then the one in ``module.celery`` if there is such a module, then any Celery instance in the module.

    Parameters:
        directory: put first on ``sys.path``.

    Raises:
        ImproperlyConfigured: there is no app there. Whatever the import raises.
    """
    if directory and directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, _, attribute = name.partition(":")
    if attribute:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise ImproperlyConfigured(f"-A {name}: module {module_name} has no {attribute!r}") from None
        return _app_in(found, name) if isinstance(found, ModuleType) else _checked(found, name)
    try:
        module: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        parent, _, last = module_name.rpartition(".")
        if not parent or exc.name != module_name:
            raise
        module = getattr(importlib.import_module(parent), last, None)  # module.attribute
        if module is None:
            raise
        return _checked(module, name)
    return _app_in(module, name)


def _app_in(module: ModuleType, name: str) -> Celery:
    for attribute in ("app", "celery"):
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return _checked(found, name)
    if hasattr(module, "__path__"):
        inner = f"{module.__name__}.celery"
        if importlib.util.find_spec(inner) is not None:
            return _app_in(importlib.import_module(inner), name)
    for found in vars(module).values():
        if _is_app(found):
            return found  # type: ignore[no-any-return]
    raise ImproperlyConfigured(f"-A {name}: module {module.__name__} holds no Celery app (looked for 'app' and 'celery')")


def _checked(found: Any, name: str) -> Celery:
    if not _is_app(found):
        kind = type(found)
        hint = ""
        if kind.__module__.split(".")[0] == "celery":
            hint = "; it is Celery's own: change the import to `from pyqs_celery_compat import Celery`"
        raise ImproperlyConfigured(
            f"-A {name}: that is a {kind.__module__}.{kind.__name__}, not an app of pyqs_celery_compat{hint}"
        )
    return found  # type: ignore[no-any-return]


def _is_app(found: Any) -> bool:
    from pyqs_celery_compat.app import Celery

    return isinstance(found, Celery)


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
