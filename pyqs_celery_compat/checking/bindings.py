"""What the names of a module, a class or a function are bound to, as its syntax tree says.

Owns: ``Scope`` and what a name may be bound to: an import, an expression, a function, a class, or what is known of it
already. Pure. Evaluates nothing: ``kinds`` asks what such a binding is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from pyqs_celery_compat.checking import names
from pyqs_celery_compat.checking.reading import Source


class Kind(NamedTuple):
    """What something is, as far as it matters here.

    Parameters:
        what: ``name`` (of Celery's, or of a library), ``module`` (of the project), ``app``, ``makes app``, ``task``, ``tasks``,
            ``task class``, ``signature``, ``result``, ``control``, ``inspect``, ``conf``, ``request``, ``steps``, ``amqp``,
            ``log``, ``connection``; or one of these and `` attribute``.
        name: the dotted name, or the attribute's.
    """

    what: str
    name: str = ""


class Imported(NamedTuple):
    """``import module`` (no attribute), or ``from module import attribute``."""

    module: str
    attribute: str | None


Binding: TypeAlias = Imported | Kind | ast.expr | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True, eq=False)
class Scope:
    """The names of a module, class or function.

    Parameters:
        source: the file. parent: the scope around it. stars: modules of the project whose names were imported with ``*``.
    """

    source: Source
    parent: Scope | None = None
    bound: dict[str, Binding] = field(default_factory=dict)
    #: What a name was imported as that was bound to something else later: ``celery = celery.Celery()``.
    before: dict[str, Imported] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    is_class: bool = False
    #: What names were found to be.
    kinds: dict[str, Kind | None] = field(default_factory=dict)

    def find(self, name: str) -> tuple[Binding, Scope] | None:
        """The binding of a name, and the scope that has it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound and (scope is self or not scope.is_class):
                return scope.bound[name], scope
            scope = scope.parent
        return None

    def bind(self, name: str, binding: Binding) -> None:
        """Bind a name. The first binding stays, but for an import that an expression replaces, and for ``x = None``."""
        before = self.bound.get(name)
        if before is None or (isinstance(before, ast.Constant) and before.value is None):
            self.bound[name] = binding
        elif isinstance(before, Imported) and isinstance(binding, (ast.Call, ast.Attribute)):
            self.before[name], self.bound[name] = before, binding


def scope_of(source: Source, body: Iterable[ast.stmt], parent: Scope | None = None, *, is_class: bool = False) -> Scope:
    """The scope of a body of statements."""
    scope = Scope(source, parent, is_class=is_class)
    _collect(scope, body)
    return scope


def _collect(scope: Scope, body: Iterable[ast.stmt]) -> None:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                scope.bind(bound, Imported(alias.name if alias.asname else bound, None))
        elif isinstance(node, ast.ImportFrom):
            _import_from(scope, node)
        elif isinstance(node, (*Function, ast.ClassDef)):
            scope.bind(node.name, node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    scope.bind(target.id, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            scope.bind(node.target.id, node)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if isinstance(item.optional_vars, ast.Name):
                    scope.bind(item.optional_vars.id, item.context_expr)
            _collect(scope, node.body)
        else:
            for inner in ("body", "orelse", "finalbody"):
                _collect(scope, getattr(node, inner, ()) or ())
            for handler in [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]:
                _collect(scope, handler.body)


def _import_from(scope: Scope, node: ast.ImportFrom) -> None:
    module = absolute(scope.source, node)
    for alias in node.names:
        if alias.name != "*":
            scope.bind(alias.asname or alias.name, Imported(module, alias.name))
        elif module.partition(".")[0] in ("celery", "kombu"):
            for name in names.star(module):
                scope.bind(name, Imported(module, name))
        else:
            scope.stars.append(module)


def absolute(source: Source, node: ast.ImportFrom) -> str:
    """The dotted name of the module that a ``from`` import names."""
    if not node.level:
        return node.module or ""
    package = source.module.split(".") if source.is_package else source.module.split(".")[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, *filter(None, [node.module])])
