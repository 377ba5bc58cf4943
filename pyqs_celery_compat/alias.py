"""``install_as_celery()``: from then on ``import celery`` means this package.

Owns: the finder on ``sys.meta_path`` that answers for ``celery``, ``celery.*`` and the parts of billiard that libraries
import. A module has two names and is one object, so that ``except celery.exceptions.Retry``, registries of signals and
patched functions hold whichever name was used. Runs in every process that has called it, before the app is imported. Never
looks at genuine Celery's files: what is not here is an error, also where genuine Celery is installed, as it is beside most
libraries that need it.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyqs.errors import ConfigError
from pyqs_celery_compat import alias_billiard, aliases, lifecycle
from pyqs_celery_compat.alias_loaders import AliasSpec, OursLoader, ThenLoader, all_by_celerys_name, borrowed_names
from pyqs_celery_compat.aliases import CELERY, OURS

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

    from pyqs_celery_compat.app import Celery

#: "0" leaves genuine Celery in its place: one image runs both fleets, and going back is one variable. "1" has a finder
#: installed when an interpreter starts (``pyqs_as_celery.pth``).
VARIABLE = "PYQS_AS_CELERY"
_ON, _OFF = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
_HEADS = frozenset({CELERY, OURS, "billiard"})

#: Python's own finders, which know genuine Celery and nothing of ours.
_STANDARD = (BuiltinImporter, FrozenImporter, PathFinder)

_lock = threading.Lock()


def install_as_celery(*, force: bool = False) -> bool:
    """Let ``celery`` and its submodules be this package, in this process. A second call changes nothing.

    Parameters:
        force: also with ``PYQS_AS_CELERY=0`` in the environment.

    Returns:
        Whether ``celery`` is this package now.

    Raises:
        ImportError: genuine Celery was imported before; two of them in one process would each have half of the tasks.
        ConfigError: the variable is neither 0 nor 1.
    """
    if not force and _wish() is False:
        return False
    with _lock:
        if is_installed():
            return True
        _refuse_a_mixture()
        sys.meta_path.insert(0, CeleryFinder())
    alias_billiard.amend_loaded()
    all_by_celerys_name()  # what is loaded already, so that import hooks on Celery's names see it, too
    return True


def is_installed() -> bool:
    """Whether ``import celery`` gives this package."""
    return any(isinstance(finder, CeleryFinder) for finder in sys.meta_path)


def install_for_worker(app: str | None) -> None:
    """What each process of a worker does before it imports an app; without ``-A`` only where the variable asks for it.

    Parameters:
        app: what ``-A`` says, or None.

    Raises:
        ConfigError: genuine Celery was imported before, or the variable is neither 0 nor 1.
    """
    if app is None and not _wish():
        return
    try:
        installed = install_as_celery()
    except ImportError as exc:
        raise ConfigError(str(exc)) from None
    if installed:
        if _others_watch_imports():
            for name in (f"{CELERY}.app.trace", f"{CELERY}.concurrency.prefork", "billiard.pool"):
                importlib.import_module(name)  # Celery's worker has them; what is to be put around them is put there now
        lifecycle.forked.add(_process_begins)
        lifecycle.closing.add(_process_ends)


def _process_begins(app: Celery) -> None:
    hostname = f"pyqs@{socket.gethostname()}"
    if (prefork := _prefork()) is not None:
        prefork.process_initializer(app, hostname)
    if (trace := sys.modules.get(f"{OURS}.app.trace")) is not None:
        trace.setup_worker_optimizations(app, hostname)


def _process_ends(app: Celery) -> None:
    if (prefork := _prefork()) is not None:
        prefork.process_destructor(os.getpid(), 0)
    alias_billiard.process_ends()


def _others_watch_imports() -> bool:
    """Whether somebody beside Python, setuptools and us answers imports, as agents do that instrument modules."""
    usual = (*_STANDARD, CeleryFinder)
    kinds = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    return any(kind not in usual and kind.__module__ != "_distutils_hack" for kind in kinds)


def _prefork() -> Any:
    """The module around whose functions libraries put themselves; None where nobody has loaded it, so that nobody did."""
    return sys.modules.get("pyqs_celery_compat.concurrency.prefork")


def install_at_start() -> None:
    """What ``pyqs_as_celery.pth`` does at an interpreter's start, ahead of any launcher's ``sitecustomize``."""
    if _wish():
        install_as_celery()


def is_refused() -> bool:
    """Whether the environment says that ``celery`` is to be genuine Celery."""
    try:
        return _wish() is False
    except ConfigError:
        return False


def _wish() -> bool | None:
    value = os.environ.get(VARIABLE, "").strip().lower()
    if value in _ON or value in _OFF:
        return value in _ON
    if value:
        raise ConfigError(f"{VARIABLE} is {value!r}: 1 has `import celery` give {OURS}, 0 leaves it to Celery")
    return None


def _refuse_a_mixture() -> None:
    genuine = sys.modules.get(CELERY)
    if genuine is None or genuine is sys.modules[OURS]:
        return
    home = getattr(genuine, "__file__", None) or "an unknown place"
    raise ImportError(
        f"install_as_celery() comes too late: Celery itself was imported before, from {home}. Call it first, at the top of "
        "the module that makes the app, of manage.py and of wsgi.py; where a launcher such as opentelemetry-instrument or "
        f"ddtrace-run imports Celery, set {VARIABLE}=1, which is earlier. {VARIABLE}=0 (pyqs worker --no-alias) leaves "
        "`import celery` to Celery itself",
        name=CELERY,
    )


class CeleryFinder(MetaPathFinder):
    """Answers for Celery's names; for anybody else's it has None.

    It comes first, before whoever would find genuine Celery. Import hooks that were there earlier are asked nevertheless.
    """

    def __init__(self) -> None:
        self._asking = _Asking()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of Celery's, of ours that Celery has, or of billiard's; None for anybody else's.

        Raises:
            ModuleNotFoundError: Celery's, and not here.
        """
        head = fullname.partition(".")[0]
        if head not in _HEADS:
            return None
        if head == CELERY:
            return self._with_hooks(_of_celery(fullname), path, target)
        if head == OURS:
            return self._of_ours(fullname, path, target)
        return self._of_billiard(fullname, path, target)

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        """Celery's, if genuine Celery is not installed: instrumentation asks for the distribution, not for the module."""
        # Only who asks for it by name: installers list all there is, and must not take it for installed.
        if context is None or (context.name or "").lower() != CELERY or context.path is not sys.path:
            return ()
        from pyqs_celery_compat.alias_distribution import presented

        return presented(context)

    def _of_ours(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        name = aliases.celerys(fullname)
        if name is not None:
            found = self._others(fullname, path, target)
            if found is not None and found.loader is not None:
                found.loader = OursLoader(found.loader)
            return found
        removed = CELERY + fullname[len(OURS) :]
        if removed in aliases.REMOVED and self._others(fullname, path, target) is None:
            # `from celery import task` asks for this name; one that is not asked for by its own goes through to the user.
            raise ModuleNotFoundError(f"No module named {removed!r}: {aliases.why_not(removed)}", name=removed)
        return None

    def _of_billiard(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        parent = sys.modules.get("billiard")
        if parent is None or not alias_billiard.is_stand_in(parent):
            found = self._others(fullname, path, target)
            if found is not None:
                amend = alias_billiard.AMENDMENTS.get(fullname)
                if amend is not None and found.loader is not None:
                    found.loader = ThenLoader(found.loader, amend)
                return found
        stand_in = aliases.STAND_INS.get(fullname)
        own = None if stand_in is None else _own_spec(f"{OURS}.{stand_in}")
        return None if own is None else self._with_hooks(AliasSpec(fullname, own), path, target)

    def _with_hooks(self, spec: AliasSpec, path: Sequence[str] | None, target: ModuleType | None) -> AliasSpec:
        """The spec with the loaders that other finders put around its own: those ask for the module in their turn."""
        specs = self._asking.specs
        if spec.name in specs:
            return specs[spec.name]
        specs[spec.name] = spec
        try:
            for finder in self._behind():
                if finder not in _STANDARD:
                    found = finder.find_spec(spec.name, path, target)
                    if isinstance(found, AliasSpec):
                        specs[spec.name] = found
        finally:
            spec = specs.pop(spec.name)
        return spec

    def _behind(self) -> Sequence[Any]:
        return sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else ()

    def _others(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        """What the finders behind this one say."""
        for finder in self._behind():
            found = finder.find_spec(fullname, path, target)
            if found is not None:
                return found  # type: ignore[no-any-return]
        return None


class _Asking(threading.local):
    """Names that this thread asks other finders for, and their specs so far."""

    def __init__(self) -> None:
        self.specs: dict[str, AliasSpec] = {}


def _of_celery(fullname: str) -> AliasSpec:
    own_name = aliases.ours(fullname)
    if own_name is None and fullname.rpartition(".")[0] in borrowed_names:
        own_name = OURS + fullname[len(CELERY) :]  # `from pyqs_celery_compat import conf`, while it has Celery's name
    own = None if own_name is None else _own_spec(own_name)
    if own is None:
        raise ModuleNotFoundError(f"No module named {fullname!r}: {aliases.why_not(fullname)}", name=fullname)
    return AliasSpec(fullname, own)


def _own_spec(name: str) -> ModuleSpec | None:
    """The spec of a module of ours; None if there is no such module.

    Finders are asked with the import system's one lock held: nothing may be imported here, nor waited for.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is not None:
        return getattr(spec, "own", spec)  # type: ignore[no-any-return]
    parent = sys.modules.get(name.rpartition(".")[0])
    return PathFinder.find_spec(name, getattr(parent, "__path__", ()))
