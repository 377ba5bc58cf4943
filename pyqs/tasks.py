"""``@task`` and ``.delay()``: the native way to make a call.

Owns: the decorator, a task's name and the message it writes. Runs in whatever process calls; in an executor it serves
tasks that call other tasks. Never changes the function: it stays callable and only gains ``.delay``.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from pyqs.errors import BadMessageOption, ConfigError
from pyqs.queues.names import FIFO, default_queue_name
from pyqs.registry import registry
from pyqs.task_options import RetryBackoff, TaskOptions

if TYPE_CHECKING:
    from pyqs.message import OutgoingMessage

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

#: "The call did not say"; None means no delay, as in PyQS.
_UNSAID: Literal["unsaid"] = "unsaid"
#: Text, or a function of the call's arguments that answers it (a number will do).
CallId = str | Callable[..., Any]
#: One call's arguments: positional ones, or keyword ones.
Args = tuple[Any, ...] | Mapping[str, Any]
_LONGEST_ID = 128


class TaskFunction(Protocol[P, R]):
    """What ``@task`` gives: the function itself, which can also be called later."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now; of an ``async def`` one the coroutine, to be awaited."""
        ...

    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> None: ...

    @overload
    def delay(
        self,
        *args: Any,
        _delay_seconds: float | None = None,
        _group_id: str | None = None,
        _dedup_id: str | None = None,
        **kwargs: Any,
    ) -> None: ...

    def delay(self, *args: Any, **kwargs: Any) -> None:
        """Send the call to the task's queue.

        Parameters:
            _delay_seconds: seconds, 0-900, before SQS hands the message out, parts of one rounded up; not on a FIFO queue.
            _group_id, _dedup_id: for this call instead of what ``@task`` says.

        Raises:
            NotSerializable: an argument that JSON cannot hold.
            TooLarge: more than SQS takes.
            BadMessageOption: an impossible delay, an impossible queue name, or a queue that takes no native tasks.
            SqsError: SQS refused the message or did not answer.
        """
        ...

    def send_many(self, calls: Iterable[Args], /, *, _delay_seconds: float | None = None) -> list[str]:
        """Send many calls to the task's queue, ten to a request and several requests at once.

        On a FIFO queue they go in order, one request after the other, and nothing is sent after one that was refused.

        Parameters:
            calls: the arguments of each: a tuple of positional ones, or a dict of keyword ones.
            _delay_seconds: as for ``delay``, for all of them.

        Returns:
            SQS's message ids, in the calls' order.

        Raises:
            SendFailed: not all were accepted; ``.results`` has for each call, in order, SQS's answer or the error.
            NotSerializable, TooLarge, BadMessageOption: as ``delay``, before anything is sent.
        """
        ...


@overload
def task(queue: Callable[P, R]) -> TaskFunction[P, R]: ...


@overload
def task(
    queue: str | None = None,
    delay_seconds: float | None = None,
    custom_function_path: str | None = None,
    *,
    retry_backoff: RetryBackoff | None = None,
    max_deliveries: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    group_id: CallId | None = None,
    dedup_id: CallId | None = None,
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...


def task(
    queue: str | Callable[..., Any] | None = None,
    delay_seconds: float | None = None,
    custom_function_path: str | None = None,
    *,
    retry_backoff: RetryBackoff | None = None,
    max_deliveries: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    group_id: CallId | None = None,
    dedup_id: CallId | None = None,
) -> Any:
    """Make a function a task, or an ``async def`` one; with or without parentheses.

    Parameters:
        queue: the queue's name (mapped to a legal one), URL or ARN; without one the function's path is the name.
        delay_seconds: seconds, 0-900, for every call that gives no ``_delay_seconds``.
        custom_function_path: the name in the message instead of ``module.function``.
        retry_backoff: how long a failed task waits for its next try: seconds of the first pause (doubled each time, to an
            hour), a pair (first, longest), or a function of SQS's receive count that answers seconds, called in the
            executor, also before the task runs [default: (10, 3600)]. Half of a pause is random, but for a function's.
        max_deliveries: after so many receives the task is not run again: its message goes to the queue's dead-letter queue,
            or, without one, is hidden for the longest pause each time [default: no bound]. SQS counts receives, so what a
            stopping worker gave back unstarted counts, too.
        time_limit: seconds after which the task is killed and counts as failed [default: none].
        soft_time_limit: seconds after which ``pyqs.SoftTimeLimitExceeded`` is raised in the task [default: none].
        group_id: the message group of each call: text, or a function that gets the call's own arguments. On a FIFO queue a
            group runs in order [default there: one group for all]; on a standard queue SQS shares out fairly between groups.
        dedup_id: the deduplication id, FIFO only, in the same way; of two calls with one id within five minutes SQS keeps
            the first [default: every call is its own].

    Raises:
        ConfigError: an async generator, no function at all, or an option that cannot be meant.
        BadMessageOption: an impossible delay.
    """
    options = (retry_backoff, max_deliveries, time_limit, soft_time_limit)
    if queue is not None and not isinstance(queue, str):
        return _make(queue, None, None, None, None, None, options)

    def decorate(function: Callable[P, R]) -> TaskFunction[P, R]:
        made = _make(function, queue, delay_seconds, custom_function_path, group_id, dedup_id, options)
        return cast("TaskFunction[P, R]", made)

    return decorate


def _make(
    function: Callable[..., Any],
    queue: str | None,
    delay_seconds: float | None,
    path: str | None,
    group_id: CallId | None,
    dedup_id: CallId | None,
    given: tuple[object, ...],
) -> Any:
    if not callable(function) or not hasattr(function, "__name__"):
        raise ConfigError(f"@task is for functions, not for a {type(function).__name__}")
    if inspect.isasyncgenfunction(function):
        raise ConfigError(f"@task on {function.__qualname__}: an async generator cannot be a task: nobody would iterate")
    name = path or f"{_module_of(function)}.{function.__name__}"
    usual = _seconds(delay_seconds, name)
    options = TaskOptions.checked(name, *given)
    if queue and usual:
        from pyqs.producer import check_delay

        check_delay(usual, queue)
    if dedup_id is not None and not (queue or "").endswith(FIFO):
        raise ConfigError(f"@task {name}: dedup_id is for FIFO queues, whose names end in {FIFO}")

    calls = _Calls(name, queue, usual, group_id, dedup_id)
    try:
        function.delay = calls.delay  # type: ignore[attr-defined]
        function.send_many = calls.send_many  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise ConfigError(f"@task is for Python functions; {function!r} takes no attribute") from None
    registry.register(name, function, options)
    return function


class _Calls:
    """The calls of one task; see ``TaskFunction`` for what its methods promise."""

    def __init__(self, name: str, queue: str | None, usual: int, group_id: CallId | None, dedup_id: CallId | None) -> None:
        self._name = name
        self._queue = queue
        self._usual = usual
        self._group_id = group_id
        self._dedup_id = dedup_id

    def delay(
        self, /, *args: Any, _delay_seconds: Any = _UNSAID, _group_id: str | None = None, _dedup_id: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        # Here, because defining a task should cost little: most processes that do never send.
        from pyqs.producer import default_producer

        target = self._target()
        message = self._message(target, args, kwargs, _delay_seconds, _group_id, _dedup_id)
        sent = default_producer().send(target, message, task=self._name)
        log.debug("sent task %s to queue %s as message %s", self._name, target, sent.message_id)

    def send_many(self, calls: Iterable[Args], /, *, _delay_seconds: Any = _UNSAID) -> list[str]:
        from pyqs.producer import default_producer

        target = self._target()
        messages = [self._message(target, *_arguments(call, self._name), _delay_seconds) for call in calls]
        sent = default_producer().send_many(target, messages, task=self._name)
        log.debug("sent %d calls of task %s to queue %s", len(sent), self._name, target)
        return [one.message_id for one in sent]

    def _target(self) -> str:
        from pyqs.producer import check_guards

        target = self._queue or default_queue_name(self._name)
        check_guards(target)
        return target

    def _message(
        self, target: str, args: Any, kwargs: Any, delay: Any, group_id: str | None = None, dedup_id: str | None = None
    ) -> OutgoingMessage:
        from pyqs.codec import encode_call
        from pyqs.message import OutgoingMessage
        from pyqs.producer import check_delay

        name = self._name
        seconds = self._usual if delay is _UNSAID else _seconds(delay, name)
        group = _call_id("group_id", name, group_id or self._group_id, args, kwargs)
        dedup = _call_id("dedup_id", name, dedup_id or self._dedup_id, args, kwargs)
        if group is None and target.endswith(FIFO) and target not in _one_group:
            _one_group.add(target)
            log.warning("queue %s: task %s gives no group_id: its calls are one group, run one after the other", target, name)
        return OutgoingMessage(encode_call(name, args, kwargs), check_delay(seconds, target), group_id=group, dedup_id=dedup)


def _arguments(call: Args, name: str) -> tuple[Any, Any]:
    if isinstance(call, Mapping):
        return (), call
    if isinstance(call, tuple):
        return call, {}
    raise BadMessageOption(
        f"task {name}: each call of send_many is a tuple of positional arguments or a dict of keyword arguments, "
        f"not a {type(call).__name__}"
    )


#: FIFO queues to which calls without a group were sent, said once each.
_one_group: set[str] = set()


def _call_id(option: str, name: str, given: CallId | None, args: Any, kwargs: Any) -> str | None:
    """A group or deduplication id as SQS takes it (API: SendMessage): up to 128 letters, digits and punctuation."""
    value = given(*args, **kwargs) if callable(given) else given
    if value is None:
        return None
    text = str(value)
    if not 1 <= len(text) <= _LONGEST_ID or not all("!" <= character <= "~" for character in text):
        raise BadMessageOption(
            f"task {name}: a {option} is 1 to {_LONGEST_ID} letters, digits or punctuation without spaces, not {text!r:.60}"
        )
    return text


def _seconds(delay: Any, name: str) -> int:
    """Whole seconds for SQS. PyQS always sends a delay, 0 if none: a queue's own DelaySeconds is not for its messages."""
    if delay is None:
        return 0
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not math.isfinite(delay):
        raise BadMessageOption(f"task {name}: a delay is a number of seconds, not {delay!r:.40}")
    return math.ceil(delay)


def _module_of(function: Callable[..., Any]) -> str:
    """The module by which a worker can import the function; for a program's main module what it is called elsewhere."""
    module: str = function.__module__
    if module not in ("__main__", "__mp_main__"):
        return module
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and not spec.name.endswith("__main__"):
        return str(spec.name)  # python -m package.module
    file = getattr(main, "__file__", None)
    stem = os.path.splitext(os.path.basename(file))[0] if file else ""
    return stem if stem.isidentifier() and not stem.startswith("__") else module
