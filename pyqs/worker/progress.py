"""A progress line on the terminal while a burst drains its queues.

Owns: that line. Runs in the main thread; rich is loaded here only. Shows counts, never messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyqs import logs
from pyqs.worker.report import Totals

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressLine:
    """Shows how many tasks have ended and how many messages are held; nothing when not enabled."""

    def __init__(self, enabled: bool) -> None:
        self._progress: Progress | None = None
        if enabled:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
            self._progress = Progress(*columns, TimeElapsedColumn(), console=logs.terminal(), transient=True)
            self._task = self._progress.add_task("draining", total=None)
            self._progress.start()

    @property
    def enabled(self) -> bool:
        """Whether there is anything to update."""
        return self._progress is not None

    def update(self, totals: Totals, held: int) -> None:
        """Show the counts as they are now; the total is what has been received so far."""
        if self._progress is not None:
            done = sum(totals.done.values())
            self._progress.update(self._task, completed=done, total=max(done + held, 1))

    def close(self) -> None:
        """Take the line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
