"""``@task`` and ``.delay()``: the native way to make a call.

Owns: the decorator and the message it writes. Runs in whatever process calls; in an executor it serves tasks that call
other tasks. Never changes the function: it stays callable and only gains ``.delay``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from pyqs.codec import encode_call
from pyqs.errors import ConfigError
from pyqs.message import OutgoingMessage
from pyqs.producer import check_delay, default_producer
from pyqs.queues import default_queue_name
from pyqs.registry import registry

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class TaskFunction(Protocol[P, R]):
    """What ``@task`` gives: the function itself, which can also be called later."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        ...

    def delay(self, *args: Any, _delay_seconds: int | None = None, **kwargs: Any) -> None:
        """Send the call to the task's queue.

        Parameters:
            _delay_seconds: seconds, 0-900, before SQS hands the message out; not on a FIFO queue.

        Raises:
            NotSerializable: an argument that JSON cannot hold.
            TooLarge: more than SQS takes.
            BadMessageOption: an impossible delay.
            SqsError: SQS refused the message or did not answer.
        """
        ...


@overload
def task(queue: Callable[P, R]) -> TaskFunction[P, R]: ...


@overload
def task(
    queue: str | None = None, delay_seconds: int | None = None, custom_function_path: str | None = None
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...


def task(
    queue: str | Callable[..., Any] | None = None,
    delay_seconds: int | None = None,
    custom_function_path: str | None = None,
) -> Any:
    """Make a function a task; with or without parentheses.

    Parameters:
        queue: the queue's name; without one the function's path is the name, mapped to a legal one.
        delay_seconds: seconds, 0-900, for every call that gives no ``_delay_seconds``.
        custom_function_path: the name in the message instead of ``module.function``.

    Raises:
        ConfigError: an ``async def`` function, or not a function at all.
        BadMessageOption: an impossible delay.
    """
    if queue is not None and not isinstance(queue, str):
        return _make(queue, None, None, None)

    def decorate(function: Callable[P, R]) -> TaskFunction[P, R]:
        return cast("TaskFunction[P, R]", _make(function, queue, delay_seconds, custom_function_path))

    return decorate


def _make(function: Callable[..., Any], queue: str | None, delay_seconds: int | None, path: str | None) -> Any:
    if not callable(function) or not hasattr(function, "__name__"):
        raise ConfigError(f"@task is for functions, not for {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{function.__name__} is an async function; tasks are plain functions: wrap it with asyncio.run()")
    name = path or f"{function.__module__}.{function.__name__}"
    target = queue or default_queue_name(name)
    check_delay(delay_seconds, target)

    def delay(*args: Any, _delay_seconds: int | None = None, **kwargs: Any) -> None:
        chosen = delay_seconds if _delay_seconds is None else _delay_seconds
        # PyQS sends a delay always, 0 if none: a queue's own DelaySeconds does not apply to its messages.
        seconds = check_delay(0 if chosen is None else chosen, target)
        sent = default_producer().send(target, OutgoingMessage(encode_call(name, args, kwargs), seconds), task=name)
        log.debug("sent task %s to queue %s as message %s", name, target, sent.message_id)

    delay.__qualname__ = f"{function.__qualname__}.delay"
    function.delay = delay  # type: ignore[attr-defined]
    registry.register(name, function)
    return function
