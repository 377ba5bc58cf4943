"""Finding the app that ``-A`` names.

Owns: ``find_app``. Runs where an app is loaded: a short-lived process, the forkserver, an executor. Imports nothing that was
not named, and takes nothing for an app that is not one of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


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
        if type(found).__module__ == "celery.app.base":
            return _checked(found, name)  # which says whose it is
    raise ImproperlyConfigured(f"-A {name}: module {module.__name__} holds no Celery app (looked for 'app' and 'celery')")


def _checked(found: Any, name: str) -> Celery:
    if not _is_app(found):
        kind = type(found)
        hint = ""
        if kind.__module__.split(".")[0] == "celery":
            hint = "; it is Celery's own: " + _way_out()
        raise ImproperlyConfigured(
            f"-A {name}: that is a {kind.__module__}.{kind.__name__}, not an app of pyqs_celery_compat{hint}"
        )
    return found  # type: ignore[no-any-return]


def _way_out() -> str:
    """What to do about an app of genuine Celery."""
    from pyqs_celery_compat import alias

    change = "change the import to `from pyqs_celery_compat import Celery`"
    if alias.is_refused():
        why = f"{alias.VARIABLE}=0 (or --no-alias) leaves `import celery` to it"
        return f"{why}. Without that this app is run as it is; or {change}"
    return change


def _is_app(found: Any) -> bool:
    from pyqs_celery_compat.app import Celery

    return isinstance(found, Celery)
