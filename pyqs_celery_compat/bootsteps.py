"""Steps that a project adds to the worker: ``app.steps["worker"].add(...)``, and the blueprint that starts and stops them.

Owns: ``Step``, ``StartStopStep``, ``ConsumerStep`` and ``Blueprint``, with Celery's names and order of calls. Worker steps run
in the host: the process that holds the app and runs no task; they are made, and no more than that, in executors, too. Consumer
steps cannot be: the worker's receiving side never loads user code, and ``check`` refuses them by name before a worker starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.utils.imports import symbol_by_name

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["Blueprint", "ConsumerStep", "StartStopStep", "Step"]

log = logging.getLogger(__name__)

RUN, CLOSE, TERMINATE = 0x1, 0x2, 0x3


class StepType(type):
    """Gives each step its name: where it is defined."""

    name: str

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> StepType:
        module = attrs.get("__module__")
        attrs.setdefault("__qualname__", name)
        attrs.setdefault("name", f"{module}.{attrs['__qualname__']}" if module else name)
        return super().__new__(cls, name, bases, attrs)

    def __str__(cls) -> str:
        return cls.name

    def __repr__(cls) -> str:
        return f"step:{cls.name}{{{list(cls.requires)!r}}}"  # type: ignore[attr-defined]


class Step(metaclass=StepType):
    """Something that is made when the worker is.

    Parameters:
        parent: what stands for the worker: it has ``app``, ``hostname``, ``pid``, ``concurrency``, ``steps`` and ``timer``.
    """

    #: Steps that come before it: classes, or "module:Class".
    requires: Iterable[Any] = ()
    #: It comes after all others.
    last = False
    #: It is left out if not ``enabled``.
    conditional = False
    enabled = True
    #: What ``alias`` is; None is the class's name.
    label: str | None = None
    name: str = ""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        pass

    def include_if(self, parent: Any) -> bool:
        """Whether it takes part; for subclasses."""
        return bool(self.enabled)

    def include(self, parent: Any) -> bool:
        """Take part if it should. Whether it does."""
        if not self.include_if(parent):
            return False
        self.create(parent)
        return True

    def create(self, parent: Any) -> Any:
        """Make what this step is about; for subclasses."""

    def info(self, obj: Any) -> Any:
        """What it tells of itself."""

    @property
    def alias(self) -> str:
        """Its short name."""
        return self.label or self.name.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"


class StartStopStep(Step):
    """A step that is started with the worker and stopped with it, or whose ``create`` answers an object that is."""

    obj: Any = None

    def include(self, parent: Any) -> bool:
        """Take part if it should. Whether it does."""
        if not self.include_if(parent):
            return False
        self.obj = self.create(parent)
        parent.steps.append(self)
        return True

    def start(self, parent: Any) -> Any:
        """The worker starts."""
        return self.obj.start() if self.obj else None

    def stop(self, parent: Any) -> Any:
        """The worker stops."""
        return self.obj.stop() if self.obj else None

    def close(self, parent: Any) -> Any:
        """The worker will stop."""

    def terminate(self, parent: Any) -> Any:
        """The worker stops at once."""
        return getattr(self.obj, "terminate", self.obj.stop)() if self.obj else None


class ConsumerStep(StartStopStep):
    """A step of the receiving side: it can be defined, and stops a worker whose app uses it."""

    requires = ("celery.worker.consumer:Connection",)
    consumers: Any = None

    def get_consumers(self, channel: Any) -> Any:
        """Consumers on a channel: there are none."""
        raise NotImplementedError("consumer steps are not there: SQS queues are received from by name (pyqs worker -Q)")


class Blueprint:
    """Steps in the order in which they need each other.

    Parameters:
        steps: beside ``default_steps``. name: for the log. on_start, on_close, on_stopped: called at these moments.
    """

    name: str | None = None
    default_steps: Iterable[Any] = frozenset()
    state_to_name: Mapping[int, str] = {0: "initializing", RUN: "running", CLOSE: "closing", TERMINATE: "terminating"}

    def __init__(
        self,
        steps: Iterable[Any] | None = None,
        name: str | None = None,
        on_start: Callable[[], Any] | None = None,
        on_close: Callable[[], Any] | None = None,
        on_stopped: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name or self.name or type(self).__qualname__
        self.types = {*(steps or ()), *self.default_steps}
        self.state: int | None = None
        self.started = 0
        self.steps: dict[str, Step] = {}
        self.order: list[Step] = []
        self._callbacks = {"start": on_start, "close": on_close, "stopped": on_stopped}

    def apply(self, parent: Any, **kwargs: Any) -> Blueprint:
        """Make the steps, those that are needed first, and have each take part.

        Raises:
            ImproperlyConfigured: they need each other in a circle. Whatever a step raises.
        """
        for step in self.make(parent, **kwargs):
            step.include(parent)
        return self

    def make(self, parent: Any, **kwargs: Any) -> list[Step]:
        """Only make them. Raises as ``apply`` does."""
        self.order = [step(parent, **kwargs) for step in in_order(map(_loaded, self.types))]
        self.steps = {step.name: step for step in self.order}
        return self.order

    def start(self, parent: Any) -> None:
        """Start those that take part. Raises what one of them raises; ``stop`` then stops those before it."""
        self.state = RUN
        self._call("start")
        for number, step in enumerate(parent.steps):
            self.started = number
            step.start(parent)
        self.started = len(parent.steps)

    def close(self, parent: Any) -> None:
        """Tell them that they will be stopped."""
        self._call("close")
        self.send_all(parent, "close", reverse=False)

    def stop(self, parent: Any, close: bool = True, terminate: bool = False) -> None:
        """Stop them in the reverse order; what one raises is logged, and the rest is stopped all the same."""
        if self.state in (CLOSE, TERMINATE):
            return
        if self.state == RUN:
            self.close(parent)
            self.state = CLOSE
            self.send_all(parent, "terminate" if terminate else "stop", propagate=False)
            self._call("stopped")
        self.state = TERMINATE

    def restart(self, parent: Any, method: str = "stop", description: str = "restarting", propagate: bool = False) -> None:
        """Stop them, so that they can be started again."""
        self.send_all(parent, method, propagate=propagate)

    def send_all(
        self,
        parent: Any,
        method: str,
        description: str | None = None,
        reverse: bool = True,
        propagate: bool = True,
        args: tuple[Any, ...] = (),
    ) -> None:
        """Call a method of each that was started and has it."""
        steps = list(parent.steps[: self.started] if self.state else parent.steps)
        for step in reversed(steps) if reverse else steps:
            function = getattr(step, method, None)
            if function is None:
                continue
            try:
                function(parent, *args)
            except Exception:
                if propagate:
                    raise
                log.exception("%s: %r of %s failed", self.name, method, step.alias)

    def info(self, parent: Any) -> dict[str, Any]:
        """What they tell of themselves."""
        told: dict[str, Any] = {}
        for step in parent.steps:
            told.update(step.info(parent) or {})
        return told

    def human_state(self) -> str:
        """Where it is in its life."""
        return self.state_to_name[self.state or 0]

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]

    def _call(self, moment: str) -> None:
        function = self._callbacks[moment]
        if function is not None:
            function()


def in_order(steps: Iterable[Any]) -> list[Any]:
    """Step classes and all that they need, each after what it needs, the last last. Raises ImproperlyConfigured."""
    needs: dict[Any, set[Any]] = {}
    waiting = sorted(steps, key=str)
    while waiting:
        step = waiting.pop()
        if step not in needs:
            needs[step] = set(map(_loaded, step.requires))
            waiting += sorted(needs[step], key=str)
    final = [step for step in needs if step.last]
    for step in final:
        needs[step] |= {other for other in needs if not other.last}
    sorter: TopologicalSorter[Any] = TopologicalSorter()
    for step in sorted(needs, key=str):
        sorter.add(step, *sorted(needs[step], key=str))
    try:
        return list(sorter.static_order())
    except CycleError as exc:
        circle = " -> ".join(map(str, exc.args[1]))
        raise ImproperlyConfigured(f"bootsteps need each other in a circle: {circle}") from None


def _loaded(step: Any) -> Any:
    """The class of a step, which may be given by name; Celery's are ours, also without the alias."""
    if isinstance(step, str) and step.startswith("celery."):
        step = "pyqs_celery_compat." + step.removeprefix("celery.")
    return symbol_by_name(step)


def check(app: Celery) -> None:
    """Refuse what cannot be done. Raises ImproperlyConfigured."""
    refused = sorted(str(_loaded(step)) for step in app.steps["consumer"])
    refused += sorted(str(step) for step in map(_loaded, app.steps["worker"]) if issubclass(step, ConsumerStep))
    if refused:
        raise ImproperlyConfigured(
            f'app.steps["consumer"]: {", ".join(refused)}: the worker\'s receiving side takes no steps of an app. What does '
            'not touch messages belongs into app.steps["worker"], what looks at each into the signals task_received or '
            "task_prerun"
        )
