"""Which of Celery's names this very package has, and what becomes of each.

Owns: ``judge`` for a dotted name, and what an app, a task, a request and the others have for attributes. Looks at this
package's own modules, which are imported for it, never at a user's. A name is "the same" only where it is found here and no
rule says otherwise.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from pyqs_celery_compat import aliases
from pyqs_celery_compat.checking import rules
from pyqs_celery_compat.checking.findings import SAME, Judgement, look, unsupported

_HEADS = ("celery", "kombu", "billiard")


def is_celerys(name: str) -> bool:
    """Whether a dotted name is Celery's, kombu's, billiard's or that of a library that lives on Celery."""
    return name.partition(".")[0] in _HEADS or library(name) is not None


def library(name: str) -> str | None:
    """The library of the table that a name belongs to."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        head = ".".join(words[:length])
        if head in rules.LIBRARIES:
            return head
    return None


@cache
def judge(name: str) -> Judgement:
    """What becomes of a dotted name: of a module, or of a name in one."""
    known = library(name)
    if known is not None:
        return rules.LIBRARIES[known]
    head = name.partition(".")[0]
    if head == "kombu":
        if name == "kombu":
            return SAME
        return next((rule for prefix, rule in rules.KOMBU.items() if _below(name, prefix)), rules.KOMBU_ITSELF)
    if head == "billiard":
        module = name if name in rules.BILLIARD else name.rpartition(".")[0]
        return SAME if module in ("billiard.exceptions", "billiard.einfo") else rules.BILLIARD_ITSELF
    return _celerys(name)


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _celerys(name: str) -> Judgement:
    module, rest = split(name)
    if module is None:
        return unsupported(aliases.why_not(_known_part(name)))
    rule = _rule(module, rest)
    if rule is not None:
        return rule
    if not rest or has(module, rest.partition(".")[0]):
        return SAME
    whole = f"{module}.{rest}"
    if whole in aliases.MODULES or any(_below(whole, gone) for gone in aliases.REMOVED):
        return unsupported(aliases.why_not(whole))
    return unsupported(f"{rules.UNKNOWN_NAME}: {module} has no {rest.partition('.')[0]}")


def _known_part(name: str) -> str:
    """The longest part of a name that is a module of Celery's, now or once; the name itself if none is."""
    words = name.split(".")
    parts = [".".join(words[:length]) for length in range(len(words), 1, -1)]
    return next((part for part in parts if part in aliases.MODULES or part in aliases.REMOVED), name)


def _rule(module: str, rest: str) -> Judgement | None:
    """The rule of the longest part of a name that has one."""
    words = [module, *rest.split(".")] if rest else [module]
    for length in range(len(words), 0, -1):
        rule = rules.NAMES.get(".".join(words[:length]))
        if rule is not None:
            return rule
    return None


@cache
def split(name: str) -> tuple[str | None, str]:
    """(the longest part of a dotted name that is a module here, the rest); None if not even the first word is."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        candidate = ".".join(words[:length])
        if candidate in aliases.MODULES and _spec(candidate) is not None:
            return candidate, ".".join(words[length:])
        if candidate in aliases.MODULES or candidate in aliases.REMOVED:
            return None, name
    return None, name


@cache
def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    ours = aliases.ours(name)
    try:
        return None if ours is None else importlib.util.find_spec(ours)
    except ModuleNotFoundError:  # its package is not there either
        return None


def has(module: str, name: str) -> bool:
    """Whether our module of this name of Celery's has the name."""
    loaded = _load(module)
    if loaded is not None:
        return hasattr(loaded, name)
    return name in _written(module)


@cache
def _load(module: str) -> ModuleType | None:
    ours = aliases.ours(module)
    try:
        return importlib.import_module(ours) if ours else None
    except ImportError:  # of what it needs and is not installed: redis, sqlalchemy, pytest
        return None


@cache
def _written(module: str) -> frozenset[str]:
    """The names that the source of a module binds, for one that cannot be imported here."""
    spec = _spec(module)
    if spec is None or not spec.origin:
        return frozenset()
    found: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def star(module: str) -> list[str]:
    """What ``from module import *`` binds."""
    loaded = _load(module)
    if loaded is None:
        return []
    public = getattr(loaded, "__all__", None) or [name for name in dir(loaded) if not name.startswith("_")]
    return list(public)


# -- attributes of what there is in a program -------------------------------------------------------------------------------
@cache
def attributes(of: str) -> frozenset[str]:
    """The attributes of an ``app``, a ``task``, a ``request``, a ``signature``, a ``result``, of ``control`` and so on."""
    from pyqs_celery_compat import canvas, result, result_sets
    from pyqs_celery_compat.app.amqp import AMQP
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.app.control import Control, Inspect
    from pyqs_celery_compat.app.log import Logging
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.connection import Connection
    from pyqs_celery_compat.request import Context

    if of == "app":
        return frozenset(dir(Celery("pyqs-check", set_as_current=False, fixups=())))
    found: dict[str, tuple[type, ...]] = {
        "task": (Task,),
        "request": (Context,),
        "signature": (canvas.Signature, canvas.group, canvas.chord),
        "result": (result.AsyncResult, result_sets.GroupResult),
        "amqp": (AMQP,),
        "log": (Logging,),
        "connection": (Connection,),
        "control": (Control,),
        "inspect": (Inspect,),
    }
    # what their makers set
    own = {"result": {"id", "results", "children", "backend"}, "connection": {"connected"}}.get(of, set())
    return frozenset(own.union(*(dir(one) for one in found[of])))


def judge_attribute(of: str, name: str) -> Judgement:
    """What becomes of an attribute of one of these."""
    table = {"app": rules.APP, "result": rules.RESULT, "request": rules.REQUEST, "amqp": rules.AMQP}
    if of == "control":
        return rules.control(name)
    if of == "inspect":
        return rules.ASKED
    if name in table.get(of, {}):
        return table[of][name]
    if name in attributes(of):
        return SAME
    if of == "connection":
        return unsupported(f"a connection has no {name} here: receiving is `pyqs worker`'s, and SQS has no exchanges")
    if of in ("task", "request"):
        return look(f"no attribute of a {of} here; one of your own, or a header, works as in Celery")
    return unsupported(f"{rules.UNKNOWN_NAME}: an object of this kind ({of}) has no {name}")
