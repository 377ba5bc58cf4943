"""Judges assignments: settings in settings modules, on ``app.conf``, in classes and dicts of configuration.

Owns: ``Assigned``, a part of ``Uses``: which assignments are settings, and what in them goes further: beat's entries, routes,
annotations, queues, transport options. Never says a value.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from pyqs_celery_compat.checking import names, rules
from pyqs_celery_compat.checking import settings as setting_rules
from pyqs_celery_compat.checking.bindings import Kind
from pyqs_celery_compat.checking.collected import Named
from pyqs_celery_compat.checking.findings import SAME, look
from pyqs_celery_compat.checking.values import UNKNOWN, Value, fold, items

if TYPE_CHECKING:
    from pyqs_celery_compat.checking.uses import Uses

#: Where frameworks keep Celery's settings as one dict: Flask's ``CELERY``, Pyramid's, and so on.
_DICTS = frozenset({"CELERY", "CELERY_CONFIG", "CELERY_SETTINGS"})
#: Bits of a module's name that make it one of settings.
_SETTINGS = ("settings", "config", "conf")


class Assigned:
    """Assignments."""

    def __init__(self, uses: Uses) -> None:
        self._uses = uses
        self._found = uses.found
        self._is_settings: bool | None = None

    def value(self, node: ast.AST | None) -> Value:
        """The value of an expression; names are followed within this file."""
        return UNKNOWN if node is None else fold(node, self._expression)

    def _expression(self, name: str) -> ast.AST | None:
        found = self._uses.scope.find(name)
        binding = None if found is None else found[0]
        if isinstance(binding, ast.AnnAssign):
            return binding.value
        return binding if isinstance(binding, ast.expr) else None

    # -- which are settings -------------------------------------------------------------------------------------------------
    def target(self, target: ast.expr, value: ast.AST | None) -> None:
        """One target of an assignment."""
        if isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self.target(one, None)
        elif isinstance(target, ast.Name):
            self._name(target, value)
        elif isinstance(target, ast.Attribute) and self._uses.kind(target.value) == Kind("conf"):
            self.named(target, target.attr, value)
        elif isinstance(target, ast.Subscript):
            self._entry(target, value)

    def _name(self, target: ast.Name, value: ast.AST | None) -> None:
        scope = self._uses.scope
        if not scope.is_class and scope.parent is not None:
            return  # a variable of a function
        name = target.id
        if name == "INSTALLED_APPS":
            self.apps(value)
        elif name == "pytest_plugins":
            self._plugins(value)
        elif name in _DICTS:
            self.whole(name, value)
        elif name.islower():
            if self._is_source():
                self.named(target, name, value)
        elif name.isupper():
            meant = setting_rules.setting_of(name, self._found.namespaces)
            if meant is not None and (self._is_prefixed(name) or self.is_settings()):
                self.setting(target, name, meant, value)
            elif meant is None and self._is_prefixed(name) and self.is_settings():
                self._unread(target, name)

    def whole(self, name: str, value: ast.AST | None) -> None:
        """A configuration as one dict, by the name under which frameworks keep it."""
        if name in _DICTS:
            for key, at, item in items(value):
                self.named(at, key, item)

    def _entry(self, target: ast.Subscript, value: ast.AST | None) -> None:
        """``app.conf["x"] = ...``, ``CELERY_BEAT_SCHEDULE["x"] = {...}``, ``app.conf.beat_schedule["x"] = ...``."""
        key = self.value(target.slice)
        if self._uses.kind(target.value) == Kind("conf"):
            if key.known and isinstance(key.value, str):
                self.named(target, key.value, value)
            return
        if key.known and isinstance(key.value, str):
            self.whole(key.value, value)
        if not isinstance(target.value, (ast.Name, ast.Attribute)):
            return
        name = target.value.id if isinstance(target.value, ast.Name) else target.value.attr
        if isinstance(target.value, ast.Attribute) and self._uses.kind(target.value.value) != Kind("conf"):
            return
        meant = setting_rules.setting_of(name, self._found.namespaces)
        if meant == "beat_schedule":
            self._found.say(self._uses.at(target), "setting", name, setting_rules.judge("beat_schedule", UNKNOWN))
            self._schedule([("", target, value)] if value is not None else [])
        elif meant == "task_routes" and key.known:
            self._found.named.append(Named(self._uses.at(target), str(key.value), "task_routes"))
        elif meant == "broker_transport_options" and key.known:
            self._option(str(key.value), target, value)

    def is_settings(self) -> bool:
        """Whether this module is one of settings: by its name, or by having some."""
        if self._is_settings is None:
            scope = self._uses.scope
            while scope.parent is not None:
                scope = scope.parent
            words = self._uses.source.module.lower().replace("_", ".").split(".")
            known = [name for name in scope.bound if name.isupper() and self._is_prefixed(name) and self._means(name)]
            self._is_settings = any(word in _SETTINGS for word in words) or bool(known)
        return self._is_settings

    def _is_prefixed(self, name: str) -> bool:
        return name.startswith(tuple(f"{one}_" for one in self._found.namespaces))

    def _means(self, name: str) -> bool:
        return setting_rules.setting_of(name, self._found.namespaces) is not None

    def _is_source(self) -> bool:
        """Whether small names here are settings: in a celeryconfig, or in what ``config_from_object`` was given."""
        module = self._uses.source.module
        tail = module.rpartition(".")[2]
        sources = {one.replace(":", ".") for one in self._found.sources}
        own = any(module == one or module.endswith("." + one) for one in sources)
        if self._uses.scope.is_class:
            return own or self._uses.classes[-1] in {one.rpartition(".")[2] for one in sources}
        return own or tail == "celeryconfig"

    # -- what they are ------------------------------------------------------------------------------------------------------
    def named(self, at: ast.AST, name: str, value: ast.AST | None) -> None:
        """A setting by a name of Celery's, where only settings stand."""
        meant = setting_rules.setting_of(name, self._found.namespaces)
        if meant is not None:
            self.setting(at, name, meant, value)

    def setting(self, at: ast.AST, name: str, meant: str, value: ast.AST | None) -> None:
        """A setting."""
        folded = self.value(value)
        if meant == "broker_transport_options":
            folded = Value(False, folded.value)
        place = self._uses.at(at)
        judged = setting_rules.judge(meant, folded, self._found.registered)
        rule = "pickle" if judged is rules.PICKLE else "setting"
        self._found.say(place, rule, name, judged)
        self._found.settings.setdefault(meant, []).append((folded, place))
        if value is not None:
            self._inside(meant, value)

    def _unread(self, target: ast.Name, name: str) -> None:
        """A name with Celery's prefix that no setting has."""
        if "REDBEAT" in name:
            self._found.say(self._uses.at(target), "library", name, rules.LIBRARIES["redbeat"])
            return
        near = setting_rules.slip(name, self._found.namespaces)
        self._found.say(
            self._uses.at(target), "setting", name, look(f"there is no such setting: did you mean {near}?") if near else SAME
        )

    def _inside(self, meant: str, value: ast.AST) -> None:
        if meant == "beat_schedule":
            self._schedule(items(value))
        elif meant == "broker_transport_options":
            for key, at, one in items(value):
                self._option(key, at, one)
        elif meant == "task_routes":
            for key, at, route in items(value):
                self._found.named.append(Named(self._uses.at(at), key, "task_routes"))
                for inner, _, queue in items(route):
                    if inner == "queue":
                        self._queue(queue)
        elif meant == "task_annotations":
            for key, at, _ in items(value):
                self._found.named.append(Named(self._uses.at(at), key, "task_annotations"))
        elif meant == "task_default_queue":
            self._queue(value)
        elif meant == "task_queues":
            self._queues(value)

    def _schedule(self, entries: list[tuple[str, ast.AST, ast.AST]]) -> None:
        for _, _, entry in entries:
            for key, at, one in items(entry):
                name = self.value(one)
                if key == "task" and name.known and isinstance(name.value, str):
                    self._found.named.append(Named(self._uses.at(at), name.value, "beat_schedule"))
                elif key == "options":
                    for inner, _, queue in items(one):
                        if inner == "queue":
                            self._queue(queue)

    def _option(self, name: str, at: ast.AST, value: ast.AST | None) -> None:
        judged = setting_rules.option(name, self.value(value))
        if judged is not None:
            self._found.say(self._uses.at(at), "setting", f"broker_transport_options[{name!r}]", judged)
        if name == "visibility_timeout":
            self._found.settings.setdefault("visibility_timeout", []).append((self.value(value), self._uses.at(at)))

    def _queue(self, node: ast.AST) -> None:
        value = self.value(node)
        if value.known and isinstance(value.value, str):
            self._found.queues.setdefault(value.value, self._uses.at(node))

    def _queues(self, value: ast.AST) -> None:
        """``task_queues``: ``Queue("a")`` in a list, or the keys of a dict."""
        for key, at, _ in items(value):
            self._found.queues.setdefault(key, self._uses.at(at))
        for one in value.elts if isinstance(value, (ast.List, ast.Tuple, ast.Set)) else ():
            if isinstance(one, ast.Call) and one.args:
                self._queue(one.args[0])

    def apps(self, value: ast.AST | None) -> None:
        """Django apps that live on Celery."""
        for node in ast.walk(value) if value is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                head = node.value.partition(".")[0]
                if head in rules.LIBRARIES or self._uses.is_untried(head):
                    self._found.say(self._uses.at(node), "library", head, rules.LIBRARIES.get(head, rules.UNTRIED))

    def _plugins(self, value: ast.AST | None) -> None:
        for node in ast.walk(value) if value is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and names.is_celerys(node.value):
                self._found.say(self._uses.at(node), "tests", node.value, names.judge(node.value))
