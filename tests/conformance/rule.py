"""The rule by which a test of Celery's own files may be left out: it must reach behind the public face to do its work.

Owns: the three clauses, and the list of the test functions that a file defines. Reads source only: nothing of what it judges
is imported or run, so the same source always gets the same answer.

A test function is left out if in its own text, decorators included,

1. it patches something of ``celery``, ``kombu`` or ``billiard``, named by a string or through what it imported from there;
2. it reads ``x._name`` where ``x`` is neither ``self`` nor ``cls`` nor a module of others: what is private to another object;
3. it puts a Mock in the place of an attribute, such as a method, of an object that is not a Mock of its own.

A class's ``setup_method`` leaves nothing out, nor does a helper outside of the test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

LIBRARIES = frozenset({"celery", "kombu", "billiard"})
MOCKS = frozenset({"Mock", "MagicMock", "AsyncMock", "NonCallableMock", "PropertyMock", "ContextMock", "create_autospec"})

#: Calls whose first argument says what is replaced: ``patch("celery.x")``, ``monkeypatch.setattr(x, "name", ...)``. A call by
#: one of these methods counts only on one of these objects: ``queue.setattr`` is none of our business.
PATCHERS = frozenset({"patch", "patching", "monkeypatch"})
PATCHING = frozenset({"patch", "patching", "object", "multiple", "dict", "setattr", "delattr"})
#: Marks and calls of which each argument is a module to be replaced.
OF_MODULES = frozenset({"patched_module", "sleepdeprived_patched_module", "modules"})


@dataclass(frozen=True)
class Function:
    """A test function as a file defines it: ``test_App.test_now``, and why the rule leaves it out, if it does."""

    name: str
    reasons: tuple[str, ...]


def read(source: str) -> list[Function]:
    """The test functions that this source defines, in their order. One that is defined twice counts as its last."""
    tree = ast.parse(source)
    found = dict(_defined(tree.body, ""))
    return [Function(name, tuple(sorted(set(_Judge(tree, node).reasons())))) for name, node in found.items()]


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield f"{prefix}{node.name}", node


class _Judge:
    """One test function, beside the names that it has from imports and from Mocks that it made."""

    def __init__(self, tree: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.function = function
        self.imported = _imports([*_at_import(tree.body), *ast.walk(function)])
        self.mocks = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _makes_a_mock(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def reasons(self) -> Iterator[str]:
        for node in ast.walk(self.function):
            if isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield from self._private(node.value, node.attr)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    yield from self._assigned(target, node.value)

    def _call(self, call: ast.Call) -> Iterator[str]:
        *owner, verb = _spelled(call.func).split(".")
        if verb in OF_MODULES:
            yield from (f"patches {name}" for name in map(self._in_a_library, call.args) if name)
        elif verb in PATCHING and (verb in PATCHERS or PATCHERS & set(owner)) and call.args:
            yield from self._patch(verb, call)
        elif verb in {"getattr", "hasattr"} and not owner and len(call.args) > 1 and _text(call.args[1]):
            yield from self._private(call.args[0], _text(call.args[1]))
        elif verb == "setattr" and not owner and len(call.args) == 3:
            yield from self._mocked(call.args[0], _text(call.args[1]), call.args[2])

    def _patch(self, verb: str, call: ast.Call) -> Iterator[str]:
        target, *more = call.args
        attribute = _text(more[0]) if more else ""
        known = self._in_a_library(target)
        if known:
            yield f"patches {known}" + (f".{attribute}" if attribute else "")
        elif not _text(target) and verb in {"object", "setattr"} and not self._is_foreign(target):
            given = [*more[1:2], *(word.value for word in call.keywords if word.arg in {"new", "value"})]
            if given:
                yield from self._mocked(target, attribute, given[0])
            elif verb == "object":
                yield f"replaces {_spelled(target)}.{attribute} by a Mock"

    def _assigned(self, target: ast.expr, value: ast.expr) -> Iterator[str]:
        if isinstance(target, ast.Attribute):
            yield from self._mocked(target.value, target.attr, value)

    def _mocked(self, owner: ast.expr, attribute: str, value: ast.expr) -> Iterator[str]:
        is_mock = _makes_a_mock(value) or (isinstance(value, ast.Name) and value.id in self.mocks)
        own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
        if is_mock and not own and _root(owner) not in self.mocks:
            yield f"replaces {_spelled(owner)}.{attribute} by a Mock"

    def _private(self, owner: ast.expr, attribute: str) -> Iterator[str]:
        if not attribute.startswith("_") or attribute.startswith("__"):
            return
        own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
        if not own and _spelled(owner) != "super()" and not self._is_foreign(owner):
            yield f"reads {_spelled(owner)}.{attribute}"

    def _in_a_library(self, target: ast.expr) -> str:
        """The dotted name under celery, kombu or billiard that the expression stands for, else nothing."""
        spelled = _text(target) or _spelled(target)
        if not _text(target):
            root, dot, rest = spelled.partition(".")
            spelled = self.imported.get(root, "") + dot + rest
        return spelled if spelled.split(".")[0] in LIBRARIES else ""

    def _is_foreign(self, target: ast.expr) -> bool:
        """Whether the expression starts from an import from elsewhere, such as ``sys``."""
        origin = self.imported.get(_root(target))
        return origin is not None and origin.split(".")[0] not in LIBRARIES


def _at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run as the module is imported: imports may stand inside ``try`` and ``if``, not inside functions."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from ast.walk(node)


def _imports(nodes: list[ast.AST]) -> dict[str, str]:
    """Each name that an import binds, and the dotted name of what it stands for."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
    return names


def _makes_a_mock(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _spelled(value.func).rpartition(".")[2] in MOCKS


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _root(node: ast.expr) -> str:
    """The name an expression starts with: ``app`` of ``app.amqp.queues["x"].name`` and of ``type(app).pool``."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.args[0] if isinstance(node.func, ast.Name) and node.func.id == "type" and node.args else node.func
        else:
            return node.id if isinstance(node, ast.Name) else ""


def _spelled(node: ast.expr) -> str:
    """An expression as a reason names it: dotted names, calls without their arguments."""
    if isinstance(node, ast.Attribute):
        return f"{_spelled(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{_spelled(node.func)}()"
    return node.id if isinstance(node, ast.Name) else "..."
