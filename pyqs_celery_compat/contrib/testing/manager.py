"""Waiting for what tasks do, in integration tests: joins that say what is missing, and conditions that come true in time.

Owns: what ``celery.contrib.testing.manager`` has. Runs in tests only. What Celery asks workers by remote control, nobody
answers on SQS: the methods that need it say so instead of waiting.
"""

from __future__ import annotations

import sys
from builtins import TimeoutError as OSTimeoutError
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, NoReturn

from pyqs_celery_compat import states
from pyqs_celery_compat.exceptions import TimeoutError
from pyqs_celery_compat.result import ResultSet
from pyqs_celery_compat.utils.text import truncate
from pyqs_celery_compat.utils.time import humanize_seconds

E_STILL_WAITING = "Still waiting for {0}.  Trying again {when}: {exc!r}"
_UNANSWERED = (
    "workers are not asked anything on SQS, so {name}() cannot know: look at the results "
    "(assert_result_tasks_in_progress_or_completed), or have the task tell"
)


class Sentinel(Exception):
    """What is waited for is not so yet."""


class ManagerMixin:
    """What a ``Manager`` does; needs ``self.app``, and ``_init_manager`` called first."""

    app: Any

    def _init_manager(
        self, block_timeout: float = 30 * 60.0, no_join: bool = False, stdout: Any = None, stderr: Any = None
    ) -> None:
        """Where to write, and whether ``join`` waits at all."""
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.connerrors = self.app.connection().recoverable_connection_errors
        self.block_timeout = block_timeout
        self.no_join = no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Write a line to ``stdout``."""
        print(f"{sep}{s}", file=self.stdout)

    def warn(self, s: str) -> None:
        """Write a line to ``stderr``."""
        self.stderr.write(f"{s}\n")

    # -- conditions ---------------------------------------------------------------------------------------------------
    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        errback: Callable[..., Any] | None = None,
        max_retries: int | None = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> Any:
        """Call ``fun`` until it raises none of ``catch``; what it answers.

        Parameters:
            errback: called before each pause with the exception, the seconds and the number of tries.
            max_retries: further calls; after them what it raised is raised.
            emit_warning: say before each pause what is waited for.
        """

        def on_error(exc: Exception, intervals: Iterator[float], retries: int) -> float:
            interval = next(intervals)
            if emit_warning:
                when = humanize_seconds(interval, "in", " ", microseconds=True)
                self.warn(E_STILL_WAITING.format(desc, when=when, exc=exc))
            if errback is not None:
                errback(exc, interval, retries)
            return interval

        return self.retry_over_time(
            fun, catch, args=args, kwargs=dict(kwargs or {}), errback=on_error, max_retries=max_retries,
            interval_start=interval_start, interval_step=interval_step, interval_max=interval_max, **options,
        )  # fmt: skip

    def ensure_not_for_a_while(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        max_retries: int = 20,
        interval_start: float = 0.1,
        interval_step: float = 0.02,
        interval_max: float = 1.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> None:
        """The opposite: all calls raise one of ``catch``. Raises AssertionError where one does not."""
        try:
            self.wait_for(
                fun, catch, desc=desc, max_retries=max_retries, interval_start=interval_start, interval_step=interval_step,
                interval_max=interval_max, emit_warning=emit_warning,
            )  # fmt: skip
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    def retry_over_time(self, *args: Any, **kwargs: Any) -> Any:
        """kombu's function of that name."""
        from kombu.utils.functional import retry_over_time

        retry: Callable[..., Any] = retry_over_time
        return retry(*args, **kwargs)

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What ``fun`` answers, or ``Sentinel`` raised for what is false."""
        answer = fun(*args, **kwargs)
        if not answer:
            raise Sentinel
        return answer

    # -- results ------------------------------------------------------------------------------------------------------
    def join(self, r: Any, propagate: bool = False, max_retries: int | None = 10, **kwargs: Any) -> Any:
        """The values of a result or a set of them.

        Parameters:
            max_retries: how often it is waited for again; 0 has no end. kwargs: as for ``ResultSet.get``.

        Raises:
            AssertionError: they have not come.
        """
        if self.no_join:
            return None
        if not isinstance(r, ResultSet):
            r = self.app.ResultSet([r])
        for _ in range(max_retries) if max_retries else count():
            received: list[Any] = []
            try:
                return r.get(callback=lambda task_id, value: received.append(task_id), propagate=propagate, **kwargs)  # noqa: B023
            except (OSTimeoutError, TimeoutError) as exc:
                missing = truncate(", ".join(self.missing_results(r)))
                self.remark(f"Still waiting for {len(r) - len(received)}/{len(r)}: [{missing}]: {exc!r}", "!")
            except self.connerrors as exc:
                self.remark(f"join: connection lost: {exc!r}", "!")
        raise AssertionError("Test failed: Missing task results")

    def missing_results(self, r: Any) -> list[str]:
        """Ids of those that have not ended."""
        return [one.id for one in r if not one.ready()]

    def assert_result_tasks_in_progress_or_completed(
        self,
        async_results: Any,
        interval: float = 0.5,
        desc: str = "waiting for tasks to be started or completed",
        **policy: Any,
    ) -> Any:
        """Wait until all of them have begun, as far as their states tell."""
        return self.assert_task_state_from_result(
            self.is_result_task_in_progress, async_results, interval=interval, desc=desc, **policy
        )

    def assert_task_state_from_result(self, fun: Callable[..., Any], results: Any, interval: float = 0.5, **policy: Any) -> Any:
        """Wait until ``fun(results, timeout=interval)`` is true."""
        return self.wait_for(partial(self.true_or_raise, fun, results, timeout=interval), (Sentinel,), **policy)

    @staticmethod
    def is_result_task_in_progress(results: Any, **kwargs: Any) -> bool:
        """Whether all of them are STARTED or SUCCESS."""
        return all(result.state in (states.STARTED, states.SUCCESS) for result in results)

    # -- what Celery asks its workers ---------------------------------------------------------------------------------
    def inspect(self, timeout: float = 3.0) -> Any:
        """``app.control.inspect``, which nobody answers."""
        return self.app.control.inspect(timeout=timeout)

    def _unanswered(self, name: str) -> NoReturn:
        raise NotImplementedError(_UNANSWERED.format(name=name))

    def query_tasks(self, ids: Any, timeout: float = 0.5) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("query_tasks")

    def query_task_states(self, ids: Any, timeout: float = 0.5) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("query_task_states")

    def assert_accepted(self, ids: Any, interval: float = 0.5, desc: str = "", **policy: Any) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("assert_accepted")

    def assert_received(self, ids: Any, interval: float = 0.5, desc: str = "", **policy: Any) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("assert_received")

    def assert_task_worker_state(self, fun: Callable[..., Any], ids: Any, interval: float = 0.5, **policy: Any) -> Any:
        """Wait until ``fun(ids, timeout=interval)`` is true."""
        return self.wait_for(partial(self.true_or_raise, fun, ids, timeout=interval), (Sentinel,), **policy)

    def is_received(self, ids: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("is_received")

    def is_accepted(self, ids: Any, **kwargs: Any) -> NoReturn:
        """Raises NotImplementedError."""
        self._unanswered("is_accepted")

    def wait_until_idle(self) -> None:
        """Purge the app's queues, as Celery does first. Whether a worker still runs a task nobody can be asked."""
        with self.app.connection() as connection:
            while self.app.control.purge(connection=connection):
                pass


class Manager(ManagerMixin):
    """Helps tests of an app. Parameters: ``app``; the others as ``_init_manager``."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self._init_manager(**kwargs)
