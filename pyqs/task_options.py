"""What ``@task`` says about failures and limits, checked when the task is defined.

Owns: ``TaskOptions`` and the pause before a failed task's next try. Made in whatever process imports the task, read in
executors, where the user's own backoff function runs, too. Never lets that function decide more than a number of seconds, and
imports the engine's curves only when they are asked for: defining a task should cost little.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pyqs.errors import ConfigError

log = logging.getLogger(__name__)

#: Seconds of the first pause; or that and the longest; or a function of the receive count.
RetryBackoff = float | tuple[float, float] | Callable[[int], float]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """One native task's options; the defaults are those of a task that names none.

    Parameters:
        retry_backoff: how long a failed task's message is hidden. Seconds for the first pause, doubled for each further
            receive up to an hour (or up to the first, if that is more); a pair (first, longest); or a function of SQS's
            receive count (1 and up) that answers seconds. The first two are spread at random over the upper half.
        max_deliveries: receives after which the task is not run any more; None for no such bound.
        time_limit: seconds after which the task is killed, or None.
        soft_time_limit: seconds after which ``SoftTimeLimitExceeded`` is raised in it, or None.
    """

    retry_backoff: RetryBackoff | None = None
    max_deliveries: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None

    @classmethod
    def checked(
        cls, task: str, retry_backoff: object, max_deliveries: object, time_limit: object, soft_time_limit: object
    ) -> TaskOptions:
        """The options as ``@task`` was given them. Raises ConfigError."""
        where = f"@task {task}"
        hard, soft = _limit(where, "time_limit", time_limit), _limit(where, "soft_time_limit", soft_time_limit)
        if hard is not None and soft is not None and soft >= hard:
            raise ConfigError(f"{where}: soft_time_limit ({soft:g} s) must be less than time_limit ({hard:g} s)")
        count = max_deliveries
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ConfigError(f"{where}: max_deliveries is a whole number of receives, 1 or more, not {count!r:.40}")
        return cls(_backoff(where, retry_backoff), count, hard, soft)

    def limited(self, hard: float | None, soft: float | None) -> TaskOptions:
        """With these limits where it has none; a soft one that would come after the hard one is left out."""
        hard = hard if self.time_limit is None else self.time_limit
        soft = soft if self.soft_time_limit is None else self.soft_time_limit
        if hard is not None and soft is not None and soft >= hard:
            soft = None
        return replace(self, time_limit=hard, soft_time_limit=soft)

    @property
    def has_own_backoff(self) -> bool:
        """Whether the pause is not the engine's usual one."""
        return self.retry_backoff is not None

    def pause(self, task: str, receive_count: int, held: float = 0.0) -> int:
        """Seconds for which the message is hidden after this receive failed; ``held`` is the age of the receive."""
        from pyqs.backoff import clamp_visibility, retry_seconds

        if callable(self.retry_backoff):
            try:
                seconds = _seconds(self.retry_backoff(receive_count))
            except BaseException:  # the user's code; whatever it does, the message must be hidden
                log.exception("task %s: its retry_backoff failed; the usual pause is taken", task)
            else:
                return clamp_visibility(seconds, held=held)
        base, cap = self._curve()
        return retry_seconds(receive_count, held=held, base=base, cap=cap)

    def longest_pause(self, held: float = 0.0) -> int:
        """Seconds for which a message is hidden that is not run any more."""
        from pyqs.backoff import clamp_visibility

        return clamp_visibility(self._curve()[1], held=held)

    def _curve(self) -> tuple[float, float]:
        from pyqs.backoff import RETRY_BASE, RETRY_CAP

        match self.retry_backoff:
            case (base, cap):
                return base, cap
            case int() | float() as base:
                return base, max(base, RETRY_CAP)
        return RETRY_BASE, RETRY_CAP


#: Of a task that names none.
DEFAULTS = TaskOptions()


def _backoff(where: str, given: object) -> RetryBackoff | None:
    if given is None or callable(given):
        return given
    if isinstance(given, (tuple, list)):
        if len(given) != 2:
            raise ConfigError(f"{where}: retry_backoff as a pair is (first, longest) in seconds, not {given!r:.40}")
        base, cap = (_pause(where, one) for one in given)
        if base > cap:
            raise ConfigError(f"{where}: retry_backoff's first pause ({base:g} s) is longer than its longest ({cap:g} s)")
        return base, cap
    return _pause(where, given)


def _pause(where: str, given: object) -> float:
    from pyqs.config import MAX_VISIBILITY

    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= MAX_VISIBILITY:
        raise ConfigError(
            f"{where}: retry_backoff is seconds (0-{MAX_VISIBILITY}), a pair of them (first, longest), or a function of the "
            f"receive count, not {given!r:.40}"
        )
    return float(given)


def _limit(where: str, name: str, given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise ConfigError(f"{where}: {name} is a number of seconds above 0, not {given!r:.40}")
    return float(given)


def _seconds(answer: object) -> float:
    if isinstance(answer, bool) or not isinstance(answer, (int, float)) or not 0 <= answer < math.inf:
        raise ValueError(f"a pause of {answer!r:.40}, not a number of seconds, 0 or more")
    return float(answer)
