"""What an expression is: an app, a task, a signature, a name of Celery's, or nothing that matters here.

Owns: ``Project``: all modules of a codebase, and ``kind``, which follows names through assignments, imports, decorators and
annotations, from one module of the project to another. Pure. What cannot be followed is None, never a guess.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from pyqs_celery_compat.aliases import CELERY, OURS
from pyqs_celery_compat.checking import names
from pyqs_celery_compat.checking.bindings import Binding, Function, Imported, Kind, Scope, scope_of
from pyqs_celery_compat.checking.reading import Source

#: How far names are followed.
_DEPTH = 24
_TASK_CLASSES = frozenset(
    {
        "celery.Task", "celery.app.task.Task", "celery.app.task.BaseTask", "celery.contrib.abortable.AbortableTask",
        "celery.contrib.django.task.DjangoTask", "celery_singleton.Singleton", "celery_once.QueueOnce",
    }
)  # fmt: skip
_APP_CLASSES = frozenset({"celery.Celery", "celery.app.Celery", "celery.app.base.Celery"})
_CANVAS = frozenset(
    f"{home}.{name}"
    for home in ("celery", "celery.canvas")
    for name in ("group", "chain", "chord", "chunks", "xmap", "xstarmap")
)
#: What makes a signature of a task or of its name.
SIGNATURES = frozenset(
    f"{home}.{name}"
    for home in ("celery", "celery.canvas")
    for name in ("signature", "subtask", "Signature", "maybe_signature")
)
_RESULTS = frozenset({"celery.result.AsyncResult", "celery.result.GroupResult", "celery.result.ResultSet"})
_OBJECTS = {
    "celery.current_app": "app",
    "celery._state.current_app": "app",
    "celery.current_task": "task",
    "celery._state.current_task": "task",
}
_MADE = {
    "celery._state.get_current_app": "app",
    "celery.app.app_or_default": "app",
    "celery._state.app_or_default": "app",
    "celery._state.get_current_task": "task",
    "celery._state.get_current_worker_task": "task",
}
#: What makes a task of a function of whatever app is current.
SHARED = frozenset({"celery.shared_task", "celery.app.shared_task"})
#: Names under which projects import their app from modules that are not part of what is read.
_APP_NAMES = frozenset({"app", "celery_app", "celery", "capp"})
_SENDING = frozenset({"delay", "apply_async", "apply", "delay_on_commit", "apply_async_on_commit"})
_SIGNING = frozenset({"s", "si", "signature", "subtask", "map", "starmap", "chunks", "set", "on_error", "clone", "link"})
_OF_APP = {
    "control": "control",
    "conf": "conf",
    "tasks": "tasks",
    "Task": "task class",
    "current_task": "task",
    "steps": "steps",
    "amqp": "amqp",
    "log": "log",
}
_CONNECTIONS = ("connection", "connection_for_read", "connection_for_write", "connection_or_acquire", "broker_connection")
_OF_TASK = {"request": "request", "app": "app"}


class Project:
    """The modules of a codebase.

    Parameters:
        sources: its files that were parsed.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._scopes: dict[str, list[Scope]] = {}
        self.scopes: list[Scope] = []
        self._under_way: set[tuple[int, str]] = set()
        for source in sources:
            if source.tree is None:
                continue
            scope = scope_of(source, source.tree.body)
            self.scopes.append(scope)
            words = source.module.split(".")
            for start in range(len(words)):  # whatever directory is on sys.path
                self._scopes.setdefault(".".join(words[start:]), []).append(scope)

    def module(self, name: str) -> Scope | None:
        """The module of this dotted name; the nearest to the root if several may be meant."""
        found = self._scopes.get(name)
        return min(found, key=lambda scope: len(scope.source.module)) if found else None

    # -- names ------------------------------------------------------------------------------------------------------------
    def lookup(self, scope: Scope, name: str, depth: int = 0) -> Kind | None:
        """What a name is, seen from a scope."""
        found = scope.find(name)
        if found is None:
            home: Scope | None = scope
            while home is not None:
                for module in home.stars:
                    if (kind := self._exported(module, name, depth)) is not None:
                        return kind
                home = home.parent
            return None
        binding, owner = found
        if name in owner.kinds:
            return owner.kinds[name]
        key = (id(owner), name)
        if key in self._under_way or depth > _DEPTH:
            return self._of_import(owner.before[name], depth + 1) if name in owner.before else None
        self._under_way.add(key)
        try:
            kind = self._of_binding(binding, owner, depth + 1)
        finally:
            self._under_way.discard(key)
        owner.kinds[name] = kind
        return kind

    def _exported(self, module: str, name: str, depth: int) -> Kind | None:
        scope = self.module(module)
        if scope is not None and (name in scope.bound or scope.stars):
            return self.lookup(scope, name, depth + 1)
        return None

    def _of_binding(self, binding: Binding, scope: Scope, depth: int) -> Kind | None:
        if isinstance(binding, Kind):
            return binding
        if isinstance(binding, Imported):
            return self._of_import(binding, depth)
        if isinstance(binding, Function):
            return self._of_function(binding, scope, depth)
        if isinstance(binding, ast.ClassDef):
            bases = [self.kind(base, scope, depth) for base in binding.bases]
            if any(base is not None and base.what == "task class" for base in bases):
                return Kind("task class")
            if any(base is not None and base.what == "name" and base.name in _APP_CLASSES for base in bases):
                return Kind("name", "celery.Celery")
            return None
        if isinstance(binding, ast.AnnAssign):
            return self.kind(binding.value, scope, depth) or self.annotated(binding.annotation, scope)
        return self.kind(binding, scope, depth)

    def _of_import(self, binding: Imported, depth: int) -> Kind | None:
        module, attribute = binding
        if module.partition(".")[0] == OURS:  # what has moved already
            module = CELERY + module[len(OURS) :]
        whole = module if attribute is None else f"{module}.{attribute}"
        if names.is_celerys(whole) and not self._is_own(module):
            return canonical(whole)
        if attribute is None:
            return Kind("module", module)
        if (kind := self._exported(module, attribute, depth)) is not None:
            return kind
        if self.module(whole) is not None:
            return Kind("module", whole)
        if attribute in _APP_NAMES and self.module(module) is None and "celery" in f"{module}.{attribute}".lower():
            return Kind("app")
        return None

    def _is_own(self, module: str) -> bool:
        """Whether ``celery`` is a module of the project's, as in ``from celery import app`` beside a celery.py: never so."""
        return module.partition(".")[0] not in ("celery", "kombu", "billiard") and self.module(module) is not None

    def _of_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, depth: int) -> Kind | None:
        for decorator in node.decorator_list:
            if self.declares(decorator, scope, depth):
                return Kind("task")
        inner: Scope | None = None
        for statement in ast.walk(node):
            if isinstance(statement, ast.Return) and isinstance(statement.value, (ast.Name, ast.Call)):
                inner = inner or scope_of(scope.source, node.body, scope)
                kind = self.kind(statement.value, inner, depth + 1)
                if kind is not None and kind.what in ("app", "result", "signature"):
                    return Kind(f"makes {kind.what}")
        return None

    # -- expressions ------------------------------------------------------------------------------------------------------
    def declares(self, decorator: ast.expr, scope: Scope, depth: int = 0) -> bool:
        """Whether a decorator makes a task of a function."""
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        kind = self.kind(target, scope, depth + 1)
        if kind is None:
            return False
        old = kind.name in ("celery.task", "celery.task.task", "celery.task.periodic_task", "celery.decorators.task")
        if kind.what == "name":
            return kind.name in SHARED or old
        return kind == Kind("app attribute", "task")

    def kind(self, node: ast.AST | None, scope: Scope, depth: int = 0) -> Kind | None:
        """What an expression is."""
        if depth > _DEPTH:
            return None
        if isinstance(node, ast.Name):
            return self.lookup(scope, node.id, depth)
        if isinstance(node, ast.Attribute):
            base = self.kind(node.value, scope, depth + 1)
            return None if base is None else self.attribute(base, node.attr, depth + 1)
        if isinstance(node, ast.Call):
            return self._called(self.kind(node.func, scope, depth + 1), node, scope, depth)
        if isinstance(node, ast.Subscript):
            base = self.kind(node.value, scope, depth + 1)
            return Kind("task") if base == Kind("tasks") else None
        if isinstance(node, ast.IfExp):
            return self.kind(node.body, scope, depth + 1) or self.kind(node.orelse, scope, depth + 1)
        if isinstance(node, ast.BoolOp):
            return next((kind for one in node.values if (kind := self.kind(one, scope, depth + 1))), None)
        if isinstance(node, (ast.Await, ast.NamedExpr)):
            return self.kind(node.value, scope, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):  # a chain
            kinds = [self.kind(side, scope, depth + 1) for side in (node.left, node.right)]
            return Kind("signature") if Kind("signature") in kinds else None
        return None

    def attribute(self, base: Kind, name: str, depth: int = 0) -> Kind | None:
        """What an attribute of something is."""
        if base.what == "name":
            return canonical(f"{base.name}.{name}")
        if base.what == "module":
            found = self._exported(base.name, name, depth)
            if found is None and self.module(f"{base.name}.{name}") is not None:
                return Kind("module", f"{base.name}.{name}")
            return found
        if base.what == "app" and name == "Celery":  # celery = celery.Celery(): on the right the module
            return canonical("celery.Celery")
        if base.what == "app" and name in _OF_APP:
            return Kind(_OF_APP[name])
        if base.what in ("task", "task class") and name in _OF_TASK:
            return Kind(_OF_TASK[name])
        known = ("app", "task", "task class", "signature", "result", "control", "inspect", "conf", "request", "connection")
        if base.what in known:
            return Kind(f"{'task' if base.what == 'task class' else base.what} attribute", name)
        return None

    def _called(self, function: Kind | None, node: ast.Call, scope: Scope, depth: int) -> Kind | None:
        if function is None:
            called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            return self.kind(node.args[0], scope, depth + 1) if called == "partial" and node.args else None
        what, name = function
        if function == Kind("app attribute", "task") or (what == "name" and name in SHARED):
            return Kind("task") if node.args else function  # app.task(function), or app.task(name="x")(function)
        if what.startswith("makes "):
            return Kind(what[6:])
        if what == "name":
            if name in _APP_CLASSES:
                return Kind("app")
            if name in _CANVAS or name in SIGNATURES:
                return Kind("signature")
            if name in _RESULTS:
                return Kind("result")
            return Kind(_MADE[name]) if name in _MADE else None
        if what == "task class":
            return Kind("task")
        if what == "app attribute":
            made = {"send_task": "result", "AsyncResult": "result", "GroupResult": "result", "signature": "signature"}
            made |= dict.fromkeys(_CONNECTIONS, "connection") | {"register_task": "task"}
            return Kind(made[name]) if name in made else None
        if what in ("task attribute", "signature attribute"):
            return Kind("result") if name in _SENDING | {"AsyncResult"} else Kind("signature") if name in _SIGNING else None
        return Kind("inspect") if function == Kind("control attribute", "inspect") else None

    # -- annotations ------------------------------------------------------------------------------------------------------
    def annotated(self, node: ast.expr | None, scope: Scope) -> Kind | None:
        """What a parameter or a variable with this annotation is."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except (SyntaxError, ValueError):
                return None
        if isinstance(node, ast.BinOp):
            return self.annotated(node.left, scope) or self.annotated(node.right, scope)
        if isinstance(node, ast.Subscript):
            name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            return self.annotated(node.slice, scope) if name in ("Optional", "Final", "Annotated") else None
        kind = self.kind(node, scope)
        if kind is None:
            return None
        if kind.what == "task class":
            return Kind("task")
        if kind.what == "name":
            if kind.name in _APP_CLASSES:
                return Kind("app")
            if kind.name in _RESULTS:
                return Kind("result")
            if kind.name in SIGNATURES | _CANVAS:
                return Kind("signature")
        return None


def canonical(name: str) -> Kind:
    """What a dotted name of Celery's is."""
    if name in _TASK_CLASSES:
        return Kind("task class")
    return Kind(_OBJECTS[name]) if name in _OBJECTS else Kind("name", name)


def is_canvas(kind: Kind | None) -> bool:
    """Whether it is ``group``, ``chain``, ``chord`` or the like itself."""
    return kind is not None and kind.what == "name" and kind.name in _CANVAS
