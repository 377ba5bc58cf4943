"""When a publish that failed is tried again: ``task_publish_retry_policy``, and an end where nobody has chosen one.

Owns: ``PublishRetries``. Runs in the publishing thread; one for each publish. Never sleeps and never sends.

Each try is up to three requests of the client's (a connection is given up after 5 s, an answer after 10 s). With Celery's usual
policy a web request would hang for two minutes where SQS swallows everything, and it is what those have who never thought of
it: so under it no further try begins when the tries so far have taken ``PATIENCE``. A policy of the user's own is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyqs.errors import SqsError
from pyqs_celery_compat.app.defaults import DEFAULTS

#: Seconds.
PATIENCE = 10.0
_USUAL: Mapping[str, Any] = DEFAULTS["task_publish_retry_policy"]


class PublishRetries:
    """The tries of one publish.

    Parameters:
        asked: asked for the policy after a first failure: ``max_retries``, ``interval_start``, ``interval_step`` and
            ``interval_max`` (seconds); None tries once.
    """

    __slots__ = ("_asked", "_pauses", "_started", "_usual")

    def __init__(self, asked: Callable[[], Mapping[str, Any] | None]) -> None:
        self._asked = asked
        self._started = time.monotonic()
        self._pauses: Iterator[float] | None = None

    def pause(self, failure: SqsError) -> float | None:
        """Seconds until the next try; None where there is none."""
        if self._pauses is None:
            policy = self._asked()
            self._usual = policy == _USUAL
            self._pauses = pauses(policy)
        if not failure.retryable or (self._usual and time.monotonic() - self._started >= PATIENCE):
            return None
        return next(self._pauses, None)


def pauses(policy: Mapping[str, Any] | None) -> Iterator[float]:
    """The waits of a policy, in seconds; ``max_retries`` None means no end, and no policy no wait at all."""
    if policy is None:
        return
    limit, pause = policy.get("max_retries", 3), float(policy.get("interval_start") or 0)
    done = 0
    while limit is None or done < limit:
        yield pause
        pause = min(pause + float(policy.get("interval_step") or 0), float(policy.get("interval_max") or 0))
        done += 1
