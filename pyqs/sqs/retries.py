"""When a call is made again, as boto3's "standard" retry mode does it.

Owns: ``Retries``: which failures pass by themselves, the pause before each further attempt, and the quota that keeps a
client from answering an outage with three times its traffic. For any thread. Never sleeps and never sends.

Source: "Retry behavior" in the AWS SDKs and Tools reference guide (standard mode).
"""

from __future__ import annotations

import random
import threading

from pyqs.errors import SqsError, Throttled, Unreachable

#: Tokens of the quota; a retry costs some, a call that works without one gives one back.
QUOTA = 500
RETRY_COST = 5
TIMEOUT_COST = 10
#: Seconds of the first pause at most, after a throttle and after any other failure; doubling up to the longest.
THROTTLED_BASE = 1.0
OTHER_BASE = 0.05
LONGEST = 20.0
#: Seconds by which an answer's x-amz-retry-after may lengthen a pause.
RETRY_AFTER_MOST = 5.0


class Retries:
    """One client's policy.

    Parameters:
        attempts: tries of one call in all.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._lock = threading.Lock()
        self._left = QUOTA

    def pause(
        self, error: SqsError, attempt: int, *, timed_out: bool = False, retry_after: float | None = None
    ) -> float | None:
        """Seconds until the next attempt, None when there is none.

        Parameters:
            attempt: the number of the one that failed, from 1.
            timed_out: it failed because no answer came in time.
            retry_after: seconds that the answer asked for.
        """
        if attempt >= self._attempts or not isinstance(error, (Throttled, Unreachable)) or not error.retryable:
            return None
        cost = TIMEOUT_COST if timed_out else RETRY_COST
        with self._lock:
            if self._left < cost:
                return None
            self._left -= cost
        base = THROTTLED_BASE if isinstance(error, Throttled) else OTHER_BASE
        pause = random.random() * min(base * 2.0 ** (attempt - 1), LONGEST)
        if retry_after is not None:
            pause = max(pause, min(retry_after, RETRY_AFTER_MOST + pause))
        return pause

    def worked(self, attempt: int) -> None:
        """An attempt was answered: some of what was spent comes back."""
        if self._left < QUOTA:
            with self._lock:
                self._left = min(QUOTA, self._left + (1 if attempt == 1 else RETRY_COST))
