"""The clock of every duration, lease and deadline: seconds that keep counting through a suspend.

Owns: ``boottime``. Runs anywhere. Never tells the time of day; the wall clock is used for ``eta`` and ``expires`` only.
"""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def boottime() -> float:
        """Seconds on CLOCK_BOOTTIME: never set back, counts while the machine is suspended, equal in all processes."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def boottime() -> float:
        """Seconds on the system-wide monotonic clock, the nearest thing outside Linux."""
        return time.monotonic()
