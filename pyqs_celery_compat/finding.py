"""Finding the app that ``-A`` names.

Owns: ``find_app``. Runs where an app is loaded: a short-lived process, the forkserver, an executor. Imports nothing that was
not named, and takes nothing for an app that is not one of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterable
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
        found: Any = _module(module_name, name)
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise ImproperlyConfigured(
                    f"-A {name}: module {module_name} has no {attribute!r}{_near(part, _attributes(found))}"
                ) from None
        return _app_in(found, name) if isinstance(found, ModuleType) else _checked(found, name)
    parent, _, last = module_name.rpartition(".")
    try:
        return _app_in(importlib.import_module(module_name), name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # something that the app imports
    if not parent:
        _module(module_name, name)
    holder = _module(parent, name)
    if not hasattr(holder, last):
        beside = (*_attributes(holder), *_modules_in(getattr(holder, "__path__", ())))
        raise ImproperlyConfigured(
            f"-A {name}: module {parent} has neither a module nor an attribute {last!r}{_near(last, beside, f'{parent}.')}"
        )
    return _checked(getattr(holder, last), name)  # module.attribute


def _module(module_name: str, name: str) -> ModuleType:
    """A module that was named. Whatever else it raises while it is imported is its own affair."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        parent, _, last = exc.name.rpartition(".")
        where = getattr(sys.modules.get(parent), "__path__", ()) if parent else [os.getcwd()]
        place = f"in {parent}" if parent else f"in {os.getcwd()} nor among what is installed"
        raise ImproperlyConfigured(
            f"-A {name}: there is no module {exc.name} {place}{_near(last, _modules_in(where))}"
        ) from None


def _modules_in(path: Iterable[str]) -> list[str]:
    """Names of the modules in these directories."""
    return [module.name for module in pkgutil.iter_modules(list(path))]


def _attributes(module: Any) -> list[str]:
    """What in it may be an app; all of it if nothing is one."""
    known = [attribute for attribute in dir(module) if not attribute.startswith("_")]
    return [attribute for attribute in known if _is_app(getattr(module, attribute, None))] or known


def _near(wanted: str, known: Iterable[str], before: str = "") -> str:
    """A question whether one of those that are alike was meant; ``before`` stands in front of each."""
    import difflib

    near = difflib.get_close_matches(wanted, dict.fromkeys(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(before + one for one in near)}?" if near else ""


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
    modules = [f"{module.__name__}.{one}" for one in _modules_in(getattr(module, "__path__", ()))]
    hint = f"; its modules are {', '.join(modules[:5])}" if modules else ""
    raise ImproperlyConfigured(f"-A {name}: module {module.__name__} holds no Celery app (looked for 'app' and 'celery'){hint}")


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
