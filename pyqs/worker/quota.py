"""How many tasks this worker may still run, where it was told: ``--max-tasks``.

Owns: that number. Asked by the credit, so that no more is received than may be run, and by the main thread, which stops the
worker when it is used up. For any thread. Never stops anything by itself.
"""

from __future__ import annotations

from pyqs.worker.report import Totals


class Quota:
    """Counts down with each task that starts.

    Parameters:
        most: tasks, None for no end.
        totals: the worker's counters.
    """

    def __init__(self, most: int | None = None, totals: Totals | None = None) -> None:
        self._most = most
        self._totals = totals or Totals()

    @property
    def left(self) -> int | None:
        """How many may start from now on; None where there is no end."""
        return None if self._most is None else max(0, self._most - self._totals.started)

    @property
    def reason(self) -> str:
        """Why the worker stops, once it may start nothing more; empty until then."""
        return f"it has run {self._totals.started} tasks, --max-tasks" if self.left == 0 else ""
