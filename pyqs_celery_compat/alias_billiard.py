"""billiard, which Celery's users have beside Celery and import by its own name.

Owns: what is changed in billiard where it is installed (the exceptions that a task catches are ours there, too), the
recognition of the stand-in where it is not, and ``process_ends``. Runs in every process with the alias. Never keeps users from
billiard's own processes and pools.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

from pyqs_celery_compat import aliases

log = logging.getLogger(__name__)

_STAND_IN = f"{aliases.OURS}.{aliases.STAND_INS['billiard']}"


class _Ending:
    """Passed for a billiard worker: an executor ends, and what was hung on the end of a pool's process is to run."""


def is_stand_in(module: ModuleType) -> bool:
    """Whether this ``billiard`` is ours."""
    return module is sys.modules.get(_STAND_IN)


def amend_loaded() -> None:
    """Change what of billiard was imported before."""
    replaced: dict[Any, Any] = {}
    for name, amend in AMENDMENTS.items():
        module = sys.modules.get(name)
        if module is not None:
            before = dict(vars(module))
            amend(module)
            replaced |= {before[key]: value for key, value in _ours(name).items() if key in before}
    for name, module in list(sys.modules.items()):
        if replaced and name.partition(".")[0] == "billiard":
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value in replaced:
                    setattr(module, key, replaced[value])


def process_ends(exitcode: int = 0) -> None:
    """Run what libraries have hung on the end of billiard's processes: Sentry and New Relic send off what they hold there."""
    worker = getattr(sys.modules.get("billiard.pool"), "Worker", None)
    for name, arguments in (("workloop", ()), ("_do_exit", (os.getpid(), exitcode))):
        method = getattr(worker, name, None)
        if method is None or not _ends_quietly(worker):
            continue
        try:
            method(_Ending(), *arguments)
        except Exception:
            log.exception("What was hung on billiard.pool.Worker.%s has failed", name)


def _ends_quietly(worker: Any) -> bool:
    return bool(getattr(worker, "ends_quietly", False))


def _ours(name: str) -> Mapping[str, Any]:
    if name == "billiard.exceptions":
        from pyqs_celery_compat import exceptions

        return {key: getattr(exceptions, key) for key in exceptions.OF_BILLIARD}
    if name == "billiard.einfo":
        from pyqs_celery_compat import einfo

        return {"ExceptionInfo": einfo.ExceptionInfo, "ExceptionWithTraceback": einfo.ExceptionWithTraceback}
    return {}


def _put_ours(module: ModuleType) -> None:
    for key, value in _ours(module.__name__).items():
        setattr(module, key, value)


def _let_end(module: ModuleType) -> None:
    """Let ``Worker``'s methods take our sign; what libraries put around them later runs with either."""
    worker: Any = module.Worker

    def unless_ending(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            return None if isinstance(self, _Ending) else method(self, *args, **kwargs)

        return run

    if not _ends_quietly(worker):
        worker.workloop = unless_ending(worker.workloop)
        worker._do_exit = unless_ending(worker._do_exit)
        worker.ends_quietly = True


#: billiard's modules that are changed when they have been loaded, and how.
AMENDMENTS: Mapping[str, Callable[[ModuleType], None]] = {
    "billiard.exceptions": _put_ours,
    "billiard.einfo": _put_ours,
    "billiard.pool": _let_end,
}
