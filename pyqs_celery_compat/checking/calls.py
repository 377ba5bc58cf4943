"""Judges calls, decorators and attributes: of an app, a task, a signature, a result, remote control, signals.

Owns: ``Calls``, a part of ``Uses``. It says of each whether it was one of Celery's, and notes what ``across`` needs: tasks,
names, queues, chords, ETAs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyqs_celery_compat.checking import names, rules
from pyqs_celery_compat.checking import settings as setting_rules
from pyqs_celery_compat.checking.bindings import Kind
from pyqs_celery_compat.checking.collected import Declared, Named
from pyqs_celery_compat.checking.findings import SAME, Judgement, Verdict
from pyqs_celery_compat.checking.kinds import SHARED, SIGNATURES, is_canvas
from pyqs_celery_compat.checking.values import items

if TYPE_CHECKING:
    from pyqs_celery_compat.checking.uses import Uses

#: Calls that are Celery's whatever they are called on: nothing else has methods of these names.
_UNMISTAKABLE = frozenset({"delay", "apply_async", "delay_on_commit", "apply_async_on_commit", "si"})
#: What else of a task or a signature is a call, now or later.
_CALLS = _UNMISTAKABLE | {"apply", "s", "signature", "subtask", "map", "starmap", "chunks", "send_task"}
#: Those whose keywords are options of the call and not arguments of the task.
_WITH_OPTIONS = frozenset({"send_task", "signature", "subtask"})
_LIMITS = ("soft_time_limit", "time_limit")
#: Of ``connect``'s kin.
_OF_SIGNAL = frozenset({"connect", "disconnect", "send", "send_robust"})
_POOLS = ("pool", "executor")
#: Parts of an app that are looked at by their attributes.
_PARTS = ("amqp", "log", "connection")
#: Commands of remote control with names that nothing else has.
_COMMANDS = frozenset(
    {
        "add_consumer", "broadcast", "cancel_consumer", "discard_all", "pool_grow", "pool_shrink", "purge", "rate_limit",
        "revoke", "time_limit",
    }
)  # fmt: skip


class Calls:
    """Calls, decorators and attributes."""

    def __init__(self, uses: Uses) -> None:
        self._uses = uses
        self._found = uses.found
        self._said: set[int] = set()
        self._knows = "celery" in uses.source.text.lower()

    # -- decorators ---------------------------------------------------------------------------------------------------------
    def decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef, decorator: ast.expr) -> bool:
        """A function that a decorator makes a task: whether it gets itself as its first argument."""
        given = {word.arg: word.value for word in decorator.keywords if word.arg} if isinstance(decorator, ast.Call) else {}
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        kind = self._uses.kind(target)
        judged = names.judge(kind.name) if kind is not None and kind.what == "name" else SAME
        if isinstance(node, ast.AsyncFunctionDef):
            judged = rules.ASYNC_TASK
        self._found.say(self._uses.at(decorator), "task", f"@{ast.unparse(target)}", judged)
        self._options(given)
        task = self.declared(decorator, given, f"{self._uses.source.module}.{node.name}")
        task.seconds = max(filter(None, [task.seconds, self._sleep(node)]), default=None)
        self._found.tasks.append(task)
        for value in given.values():
            self._uses.visit(value)
        bind = self._uses.value(given.get("bind"))
        return bool(bind.known and bind.value)

    def _options(self, given: Mapping[str, ast.expr]) -> None:
        for name, value in given.items():
            if name in rules.TASK_CLASS:
                self._found.say(self._uses.at(value), "task-class", name, rules.TASK_CLASS[name])
            self.option(name, value)
        if "serializer" in given:
            self.serializer(given["serializer"])

    def _by_call(self, node: ast.Call) -> bool:
        """``app.task(function)``, ``app.task(name="x")(function)``: a task without a decorator."""
        given = {word.arg: word.value for word in node.keywords if word.arg}
        self._found.say(self._uses.at(node), "task", ast.unparse(node.func), SAME)
        self._options(given)
        function = getattr(node.args[0], "id", None) if node.args else None
        if function or "name" in given:
            self._found.tasks.append(self.declared(node, given, f"{self._uses.source.module}.{function}"))
        return True

    def declared(self, node: ast.AST, given: Mapping[str, ast.expr], default: str) -> Declared:
        """A task with what its decorator or class says of it."""
        name = self._uses.value(given["name"]) if "name" in given else None
        limits = [self._uses.value(given[one]) for one in _LIMITS if one in given]
        seconds = [one.value for one in limits if one.known and isinstance(one.value, (int, float))]
        self._queue(given.get("queue"))
        return Declared(
            self._uses.at(node),
            default if name is None else name.value if name.known and isinstance(name.value, str) else None,
            self._uses.value(given["acks_late"]) if "acks_late" in given else None,
            max(seconds, default=None),
        )

    def _sleep(self, node: ast.AST) -> float | None:
        """The longest literal ``sleep`` of a body, in seconds."""
        found = []
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and one.args:
                called = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
                value = self._uses.value(one.args[0])
                if called == "sleep" and value.known and isinstance(value.value, (int, float)):
                    found.append(float(value.value))
        return max(found, default=None)

    def option(self, name: str, node: ast.expr) -> None:
        """An option of a task, in its decorator or class."""
        value = self._uses.value(node)
        if name in rules.TASK_OPTIONS and not (value.known and not value.value):
            self._found.say(self._uses.at(node), "task", name, rules.TASK_OPTIONS[name])

    def serializer(self, node: ast.expr) -> None:
        """The serializer of a task or a call."""
        judged = setting_rules.judge("task_serializer", self._uses.value(node), self._found.registered)
        if judged.verdict is not Verdict.SAME:
            self._found.say(self._uses.at(node), "pickle" if judged is rules.PICKLE else "serializer", "serializer", judged)

    def _queue(self, node: ast.AST | None) -> None:
        value = self._uses.value(node)
        if node is not None and value.known and isinstance(value.value, str):
            self._found.queues.setdefault(value.value, self._uses.at(node))

    # -- attributes -----------------------------------------------------------------------------------------------------------
    def attribute(self, node: ast.Attribute) -> bool:
        """An attribute that is not called: whether it is one of Celery's that was judged."""
        if id(node) in self._said:
            return True
        base = self._uses.kind(node.value)
        if base is not None and base.what == "name" and base.name.startswith("celery.signals.") and node.attr in _OF_SIGNAL:
            self._signal(node, base.name, node.attr)
            return True
        if base is None:
            if node.attr in _UNMISTAKABLE - {"si"} and isinstance(node.ctx, ast.Load) and not self._is_pool(node):
                self._say(node, "call", node.attr, SAME)
                return True
            return False
        if base.what == "app" and node.attr == "steps":
            return True
        if base.what == "app" and node.attr not in ("conf", "control"):
            self._say(node, "app", f"app.{node.attr}", names.judge_attribute("app", node.attr))
        elif base.what == "request":
            self._say(node, "request", f"request.{node.attr}", names.judge_attribute("request", node.attr))
        elif base.what == "control":
            self._say(node, "control", f"control.{node.attr}", rules.control(node.attr))
        elif base.what in _PARTS:
            self._say(node, "app", f"{base.what}.{node.attr}", names.judge_attribute(base.what, node.attr))
        elif base.what in ("task", "signature") and node.attr in _CALLS:
            self._say(node, "call", node.attr, SAME)
        else:
            return base.what == "conf" and isinstance(node.ctx, ast.Load)
        return True

    def _say(self, node: ast.AST, rule: str, use: str, judged: Judgement) -> None:
        if id(node) not in self._said:
            self._said.add(id(node))
            self._found.say(self._uses.at(node), rule, use, judged)

    @staticmethod
    def _is_pool(node: ast.Attribute) -> bool:
        """``multiprocessing.Pool`` has an ``apply_async``, too."""
        inner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        return node.attr == "apply_async" and any(word in inner.lower() for word in _POOLS)

    # -- calls ----------------------------------------------------------------------------------------------------------------
    def call(self, node: ast.Call) -> bool:
        """A call: whether it is one of Celery's that was judged, so that its function need not be."""
        kind = self._uses.kind(node.func)
        if kind is not None and kind.what == "name":
            return self._of_name(node, kind)
        self._received(node)
        if not isinstance(node.func, ast.Attribute):
            return False
        name, base = node.func.attr, self._uses.kind(node.func.value)
        if base is None:
            return self._of_something(node, node.func, name)
        if base.what == "app":
            return self._of_app(node, name)
        if base.what in ("control", "inspect"):
            if base.what == "control" and name == "inspect":
                return True  # what is asked is judged
            self._found.say(self._uses.at(node), "control", f"{base.what}.{name}", names.judge_attribute(base.what, name))
            return True
        if base.what in ("task", "task class", "signature"):
            return self._of_task(node, name)
        if base.what in _PARTS:
            self._found.say(self._uses.at(node), "app", f"{base.what}.{name}", names.judge_attribute(base.what, name))
            return True
        if base.what == "result":
            self._found.say(self._uses.at(node), "result", name, names.judge_attribute("result", name))
            return True
        if base.what == "conf" and name in ("update", "setdefault"):
            self._configured(node, name)
            return True
        if base.what == "request":
            self._found.say(self._uses.at(node), "request", f"request.{name}", names.judge_attribute("request", name))
            return True
        return base.what in ("conf", "tasks")

    def _of_something(self, node: ast.Call, function: ast.Attribute, name: str) -> bool:
        """A method of nobody knows what, whose name says that it is Celery's."""
        if name in _UNMISTAKABLE and not self._is_pool(function) and self._fits(name, node):
            self._sent(node, name)
            return True
        if name == "add_periodic_task":
            return self._of_app(node, name)
        owner, knows = function.value, self._knows
        if name in _COMMANDS and isinstance(owner, ast.Attribute) and owner.attr == "control" and knows:
            self._found.say(self._uses.at(node), "control", f"control.{name}", rules.control(name))
            return True
        asked = owner.func if isinstance(owner, ast.Call) else None
        if isinstance(asked, ast.Attribute) and asked.attr == "inspect" and knows and name in names.attributes("inspect"):
            self._found.say(self._uses.at(node), "control", f"inspect.{name}", rules.ASKED)
            return True
        return False

    def _received(self, node: ast.Call) -> None:
        """``@receiver(task_success, sender=task)``: Django's decorator for signals, which takes Celery's, too."""
        if (getattr(node.func, "attr", None) or getattr(node.func, "id", "")) == "receiver" and node.args:
            first = node.args[0]
            for one in first.elts if isinstance(first, (ast.List, ast.Tuple)) else [first]:
                kind = self._uses.kind(one)
                if kind is not None and kind.what == "name" and kind.name.startswith("celery.signals."):
                    self._signal(one, kind.name, "connect")

    @staticmethod
    def _fits(name: str, node: ast.Call) -> bool:
        """Whether the arguments are those of Celery's ``apply_async``; a pool's takes a function first."""
        if name != "apply_async" or not node.args:
            return True
        return not isinstance(node.args[0], (ast.Lambda, ast.Attribute))

    def _of_name(self, node: ast.Call, kind: Kind) -> bool:
        place = self._uses.at(node)
        head, _, name = kind.name.rpartition(".")
        if head.startswith("celery.signals.") and name in _OF_SIGNAL:
            self._signal(node.func, head, name)
            return True
        if kind.name in ("kombu.serialization.register", "kombu.serialization.registry.register"):
            self._found.say(place, "serializer", kind.name, SAME)
            return True
        if kind == Kind("name", "celery.Celery") or kind.name in ("celery.app.Celery", "celery.app.base.Celery"):
            self._made(node)
            return True
        if kind.name in SHARED:
            return self._by_call(node)
        if is_canvas(kind):
            self._found.say(place, "canvas", name, self._canvas(node))
            if name == "chord":
                self._found.chords.append(place)
            return True
        if kind.name in ("celery.result.AsyncResult", "celery.result.GroupResult"):
            self._found.say(place, "result", name, SAME)
            return True
        if kind.name in SIGNATURES:
            self._by_name(node.args[0] if node.args else None, "signature")
            self._sent(node, "signature")
            return True
        if kind.name in ("kombu.Exchange", "kombu.entity.Exchange"):
            self._exchange(node)
            return True
        return False

    @staticmethod
    def _canvas(node: ast.Call) -> Judgement:
        return rules.GENERATOR if node.args and isinstance(node.args[0], ast.GeneratorExp) else SAME

    def _exchange(self, node: ast.Call) -> None:
        """``Exchange("name", type="topic")``."""
        said = self._uses.value(_word(node, "type") or (node.args[1] if len(node.args) > 1 else ast.Constant("direct")))
        judged = rules.EXCHANGE if said.known and said.value not in rules.DIRECT else SAME
        self._found.say(self._uses.at(node), "exchange", "Exchange", judged)

    def _signal(self, node: ast.expr, signal: str, name: str) -> None:
        short = signal.rpartition(".")[2]
        self._say(node, "signal", f"{short}.{name}", rules.SIGNALS.get(short, names.judge(signal)))

    def _made(self, node: ast.Call) -> None:
        """``Celery("proj", broker=..., backend=...)``."""
        self._found.say(self._uses.at(node), "app", "Celery()", SAME)
        for word in node.keywords:
            name = {"broker": "broker_url", "backend": "result_backend"}.get(word.arg or "", word.arg or "")
            if setting_rules.setting_of(name) == name and name != "timezone":
                self._uses.assigned.setting(word.value, name, name, word.value)
            elif word.arg == "namespace":
                self._namespace(word.value)

    def _namespace(self, node: ast.AST) -> None:
        value = self._uses.value(node)
        if value.known and isinstance(value.value, str) and value.value:
            self._found.namespaces.add(value.value.rstrip("_"))

    def _of_app(self, node: ast.Call, name: str) -> bool:
        judged = names.judge_attribute("app", name)
        if name == "task":
            return self._by_call(node)
        if name == "send_task":
            self._sent(node, name)
            self._by_name(node.args[0] if node.args else _word(node, "name"), "send_task")
            return True
        if name == "signature":
            self._by_name(node.args[0] if node.args else None, "signature")
        rule = "beat" if name == "add_periodic_task" else "app"
        self._found.say(self._uses.at(node), rule, f"app.{name}", judged)
        return True

    def _by_name(self, node: ast.AST | None, how: str) -> None:
        value = self._uses.value(node)
        if node is not None and value.known and isinstance(value.value, str):
            self._found.named.append(Named(self._uses.at(node), value.value, how))

    def _of_task(self, node: ast.Call, name: str) -> bool:
        if name == "retry":
            later = self._later(node)
            self._found.say(self._uses.at(node), "eta" if later else "retry", "retry", rules.ETA if later else SAME)
            return True
        if name in _CALLS:
            self._sent(node, name)
            if name in ("map", "starmap", "chunks") and (judged := self._canvas(node)) is not SAME:
                self._found.say(self._uses.at(node), "canvas", name, judged)
            return True
        if name in ("replace", "add_to_chord", "update_state", "set", "on_error", "link", "link_error", "clone"):
            later = name == "set" and self._later(node)
            self._found.say(self._uses.at(node), "eta" if later else "call", name, rules.ETA if later else SAME)
            return True
        return False

    def _sent(self, node: ast.Call, name: str) -> None:
        """A call, with its options."""
        later = (name.startswith("apply_async") or name in _WITH_OPTIONS) and self._later(node)
        self._found.say(self._uses.at(node), "eta" if later else "call", name, rules.ETA if later else SAME)
        if "apply_async" in name or name == "send_task":
            self._queue(_word(node, "queue"))
            serializer = _word(node, "serializer")
            if serializer is not None:
                self.serializer(serializer)

    def _later(self, node: ast.Call) -> bool:
        """Whether a call says when it is due."""
        given = [value for name in ("countdown", "eta") if (value := _word(node, name)) is not None]
        if all(self._uses.value(one).known and not self._uses.value(one).value for one in given):
            return False  # None, or 0
        self._found.etas.append(self._uses.at(node))
        return True

    def _configured(self, node: ast.Call, name: str) -> None:
        """``app.conf.update(...)``."""
        pairs: Iterable[tuple[str, ast.AST, ast.AST]] = [
            (word.arg, word.value, word.value) for word in node.keywords if word.arg
        ]
        if name == "update" and node.args:
            pairs = [*pairs, *items(node.args[0])]
        for key, at, value in pairs:
            self._uses.assigned.named(at, key, value)


def _word(node: ast.Call, name: str) -> ast.expr | None:
    """A keyword argument of a call."""
    return next((word.value for word in node.keywords if word.arg == name), None)
