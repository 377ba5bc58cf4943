"""How long to wait before the next try: attempts in, seconds out.

Owns: the two curves of the engine, one for failed tasks (how long SQS hides the message) and one for a network or
service that does not answer. Pure: no clock, no sleep, no I/O; randomness is injected. Runs anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from pyqs.config import MAX_VISIBILITY

Jitter = Literal["full", "equal", "none"]
Random = Callable[[], float]

#: Seconds that a failed native task's message is hidden after its first receive; doubled for each further one.
RETRY_BASE = 10.0
#: Seconds, the longest such pause.
RETRY_CAP = 3600.0
#: Seconds kept below SQS's 43200: the twelve hours count from the receive on SQS's clock, not from our call.
VISIBILITY_MARGIN = 60
#: Seconds between tries against a network that does not answer: the first and the longest. A receive may hang for 30 s by
#: itself; consuming must go on within 35 s of a cure.
NETWORK_BASE = 1.0
NETWORK_CAP = 25.0

# 2.0 ** 64 times any base is beyond every cap; more would only risk an OverflowError on a hostile receive count.
_MAX_EXPONENT = 64


def exponential(attempt: int, *, base: float, cap: float, jitter: Jitter = "equal", rand: Random = random.random) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (1 is the first).

    Parameters:
        attempt: 1 or more; less counts as 1.
        base: seconds after the first attempt.
        cap: seconds, the most that is ever answered.
        jitter: "full" spreads over 0..x, "equal" over x/2..x, "none" answers x itself.
        rand: answers a float in [0, 1).
    """
    exponent = min(max(attempt, 1) - 1, _MAX_EXPONENT)
    ceiling = min(cap, base * 2.0**exponent)
    if jitter == "none":
        return ceiling
    if jitter == "full":
        return ceiling * rand()
    return ceiling / 2 + ceiling / 2 * rand()


def retry_seconds(
    receive_count: int,
    *,
    held: float = 0.0,
    base: float = RETRY_BASE,
    cap: float = RETRY_CAP,
    jitter: Jitter = "equal",
    rand: Random = random.random,
) -> int:
    """Whole seconds for which a failed message is hidden, by how often SQS has handed it out.

    Parameters:
        receive_count: ApproximateReceiveCount, at least 1.
        held: seconds since that receive. SQS refuses a total of more than 43200 s per receive (SQS API reference,
            ChangeMessageVisibility), so they and a margin are taken off the ceiling.
    """
    return clamp_visibility(exponential(receive_count, base=base, cap=cap, jitter=jitter, rand=rand), held=held)


def clamp_visibility(seconds: float, *, held: float = 0.0) -> int:
    """``seconds`` as SQS takes them: whole, not negative, and within its twelve hours since the receive."""
    ceiling = max(0, int(MAX_VISIBILITY - VISIBILITY_MARGIN - max(0.0, held)))
    return max(0, min(ceiling, round(seconds)))


class NetworkBackoff:
    """The pause between tries of one loop that talks to SQS: 1 s doubling to 25 s, jittered, reset by a success.

    For one thread; each loop has its own.
    """

    def __init__(self, *, base: float = NETWORK_BASE, cap: float = NETWORK_CAP, rand: Random = random.random) -> None:
        self._base = base
        self._cap = cap
        self._rand = rand
        self.failures = 0

    def failed(self) -> float:
        """Count one more failure in a row; answer the seconds to wait before the next try."""
        self.failures += 1
        return exponential(self.failures, base=self._base, cap=self._cap, jitter="equal", rand=self._rand)

    def succeeded(self) -> bool:
        """Forget the failures; answer True when there were any, so that the caller can log the recovery once."""
        had_failed = self.failures > 0
        self.failures = 0
        return had_failed
