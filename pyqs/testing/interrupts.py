"""How a thread of a test's worker is told that its task does not count any more.

Owns: ``GivenUp``, which ``pyqs.executor.interrupts`` throws. Runs nothing.
"""

from __future__ import annotations

from pyqs.interruption import ShutdownRequested


class GivenUp(ShutdownRequested):
    """The worker no longer waits for the task in this thread: a hard limit, a revoke, or a stop at once."""
