"""Goes through one module's syntax tree and finds every use of Celery in it.

Owns: ``Uses``: imports, names reached through a module, classes, functions and their decorators; calls go to ``calls``,
assignments to ``assigned``. Runs in the process of ``pyqs check``, over trees only. One use is one finding.
"""

from __future__ import annotations

import ast

from pyqs_celery_compat.aliases import OURS
from pyqs_celery_compat.checking import command_lines, names, rules
from pyqs_celery_compat.checking.assigned import Assigned
from pyqs_celery_compat.checking.bindings import Function, Kind, Scope, absolute, scope_of
from pyqs_celery_compat.checking.calls import Calls
from pyqs_celery_compat.checking.collected import Collected, Place
from pyqs_celery_compat.checking.findings import SAME, Verdict
from pyqs_celery_compat.checking.kinds import Project
from pyqs_celery_compat.checking.values import Value

#: Functions that take a dotted name as text.
_BY_NAME = frozenset(
    {"patch", "import_module", "import_string", "symbol_by_name", "locate", "importorskip", "setattr", "object"}
)


class Uses(ast.NodeVisitor):
    """The uses in one module."""

    def __init__(self, project: Project, scope: Scope, collected: Collected) -> None:
        self.project = project
        self.source = scope.source
        self.scope = scope
        self.found = collected
        self._calls = Calls(self)
        self.assigned = Assigned(self)
        #: The names of the classes around.
        self.classes: list[str] = []
        self._in_types = 0
        self._called: set[int] = set()

    def run(self) -> None:
        """Find them."""
        assert self.source.tree is not None
        self.visit(self.source.tree)

    def at(self, node: ast.AST) -> Place:
        """Where a node stands."""
        return Place(self.source.path, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1)

    def kind(self, node: ast.AST | None) -> Kind | None:
        """What an expression is, seen from here."""
        return self.project.kind(node, self.scope)

    # -- imports ----------------------------------------------------------------------------------------------------------
    def visit_Import(self, node: ast.Import) -> None:
        """``import celery.beat``."""
        for alias in node.names:
            if (names.is_celerys(alias.name) or self.is_untried(alias.name)) and not self._in_types:
                self._import(alias, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """``from celery import shared_task as st``, ``from celery import *``."""
        if node.level or self._in_types:
            return
        module = absolute(self.source, node)
        for alias in node.names:
            whole = module if alias.name == "*" else f"{module}.{alias.name}"
            if names.is_celerys(whole) or self.is_untried(module):
                self._import(alias, whole)

    def is_untried(self, module: str) -> bool:
        """Whether a module is of a library that has Celery in its name, is none of the project's and in no table."""
        head = module.partition(".")[0]
        return "celery" in head and not names.is_celerys(head) and head != OURS and self.project.module(head) is None

    def _import(self, alias: ast.alias, name: str) -> None:
        if not names.is_celerys(name):
            self.found.say(self.at(alias), "library", name, rules.UNTRIED)
            return
        rule = "import" if names.library(name) is None else "library"
        self.found.say(self.at(alias), rule, name, names.judge(name))

    # -- names ------------------------------------------------------------------------------------------------------------
    def visit_Attribute(self, node: ast.Attribute) -> None:
        """``celery.beat.Scheduler``, ``self.request.id``, ``task.delay`` handed on, ``app.conf.x``."""
        if self._in_types:
            return
        if not self._calls.attribute(node):
            self._of_module(node)
        self.generic_visit(node)

    def _of_module(self, node: ast.Attribute) -> None:
        """A name that is reached through an imported module of Celery's, the longest part of it once."""
        kind = self.kind(node)
        if kind is None or kind.what != "name" or id(node) in self._called:
            return
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            self._called.add(id(inner))
            inner = inner.value
        judged = names.judge(kind.name)
        if isinstance(inner, ast.Name) and kind.name.startswith("celery.") and judged.verdict is not Verdict.SAME:
            self.found.say(self.at(node), "name", kind.name, judged)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """``app.steps["worker"]``."""
        if self.kind(node.value) == Kind("steps") and not self._in_types:
            name = self.value(node.slice)
            judged = rules.STEPS.get(str(name.value)) if name.known else None
            self.found.say(self.at(node), "steps", "app.steps", judged or rules.STEPS["worker"])
        self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        """``["celery", "-A", "proj", "worker"]``, as ``subprocess`` takes it."""
        words = [one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "$" for one in node.elts]
        if "celery" in words and isinstance(node.ctx, ast.Load):
            command_lines.check_words(self.at(node), words, self.found)
        self.generic_visit(node)

    # -- classes and functions --------------------------------------------------------------------------------------------
    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A subclass of a task, of an app, of something of Celery's."""
        is_task = False
        for base in node.bases:
            kind = self.kind(base)
            if kind is None:
                continue
            if kind.what == "task class":
                is_task = True
            elif kind.what == "name":
                self._subclass(node, base, kind)
        if is_task:
            self.found.say(self.at(node), "task-class", node.name, SAME)
        outer, self.scope = self.scope, scope_of(self.source, node.body, self.scope, is_class=True)
        self.classes.append(node.name)
        if is_task:
            self._class_task(node)
        for statement in node.body:
            if is_task and isinstance(statement, (ast.Assign, ast.AnnAssign)):
                self._task_attribute(statement)
            if is_task and isinstance(statement, Function):
                if statement.name in rules.TASK_CLASS:
                    self.found.say(self.at(statement), "task-class", statement.name, rules.TASK_CLASS[statement.name])
                self._function(statement, bound=True)
            else:
                self.visit(statement)
        self.scope = outer
        self.classes.pop()
        for part in (*node.bases, *node.decorator_list, *(word.value for word in node.keywords)):
            self.visit(part)

    def _subclass(self, node: ast.ClassDef, base: ast.expr, kind: Kind) -> None:
        judged = names.judge(kind.name)
        if not kind.name.startswith("celery."):
            return  # of a library the import was judged
        self._called.update(id(part) for part in ast.walk(base))
        what = "subclass"
        if judged is rules.NAMES["celery.worker.request"]:
            what = "task-class"
        self.found.say(self.at(node), what, f"class {node.name}({kind.name})", judged)

    def _class_task(self, node: ast.ClassDef) -> None:
        given = {
            target.id: statement.value
            for statement in node.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        declared = self._calls.declared(node, given, f"{self.source.module}.{node.name}")
        if "name" in given or "run" in {one.name for one in node.body if isinstance(one, Function)}:
            self.found.tasks.append(declared)

    def _task_attribute(self, statement: ast.Assign | ast.AnnAssign) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            name = getattr(target, "id", "")
            if name in rules.TASK_CLASS:
                self.found.say(self.at(statement), "task-class", name, rules.TASK_CLASS[name])
            elif name == "serializer" and statement.value is not None:
                self._calls.serializer(statement.value)
            elif statement.value is not None:
                self._calls.option(name, statement.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function, which may be a task."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """An async function, which cannot be one."""
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool = False) -> None:
        for decorator in node.decorator_list:
            if self.project.declares(decorator, self.scope):
                bound = self._calls.decorated(node, decorator)
            else:
                self.visit(decorator)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        if node.name == "INSTALLED_APPS":  # a property of a class of settings
            self.assigned.apps(node)
        outer, self.scope = self.scope, scope_of(self.source, node.body, self.scope)
        self._parameters(node, bound)
        for statement in node.body:
            self.visit(statement)
        self.scope = outer

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool) -> None:
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for index, parameter in enumerate(parameters):
            kind = self.project.annotated(parameter.annotation, self.scope)
            if kind is not None:
                self.scope.bound.setdefault(parameter.arg, kind)
            elif index == 0 and bound:
                self.scope.bound.setdefault(parameter.arg, Kind("task"))
            else:  # hides what a module has by this name
                self.scope.bound.setdefault(parameter.arg, ast.Constant(None))
            if parameter.arg in rules.FIXTURES and node.name.startswith("test"):
                self.found.say(self.at(parameter), "tests", parameter.arg, rules.IN_A_THREAD)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Only its body."""
        self.visit(node.body)

    # -- the rest ---------------------------------------------------------------------------------------------------------
    def visit_Call(self, node: ast.Call) -> None:
        """A call."""
        handled = self._calls.call(node)
        if not handled:
            self._by_name(node)
        for word in node.keywords:  # Flask's config.from_mapping(CELERY={...})
            self.assigned.whole(word.arg or "", word.value)
        if handled and isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        else:
            self.visit(node.func)
        for part in (*node.args, *(word.value for word in node.keywords)):
            self.visit(part)

    def _by_name(self, node: ast.Call) -> None:
        """``patch("celery.beat.Scheduler")``, ``import_module("celery.apps.worker")``."""
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if function in _BY_NAME and isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value.replace(":", ".")
            if names.is_celerys(name) and all(word.isidentifier() for word in name.split(".")):
                self.found.say(self.at(first), "name", name, names.judge(name))

    def visit_Assign(self, node: ast.Assign) -> None:
        """An assignment, which may be a setting."""
        for target in node.targets:
            self.assigned.target(target, node.value)
            self.visit(target)
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """``CELERY_IMPORTS += (...)``."""
        self.assigned.target(node.target, node.value if getattr(node.target, "id", "") == "INSTALLED_APPS" else None)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """An assignment with a type; the type itself is nothing that runs."""
        if node.value is not None:
            self.assigned.target(node.target, node.value)
            self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        """``if TYPE_CHECKING:`` runs never."""
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        self.visit(node.test)
        self._in_types += test == "TYPE_CHECKING"
        for statement in node.body:
            self.visit(statement)
        self._in_types -= test == "TYPE_CHECKING"
        for statement in node.orelse:
            self.visit(statement)

    def value(self, node: ast.AST | None) -> Value:
        """The value of an expression, as far as it is known here."""
        return self.assigned.value(node)
