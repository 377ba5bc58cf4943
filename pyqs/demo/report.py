"""What the demo shows: progress while it runs, then the table and the verdict.

Owns: every line the demo prints. Rich is loaded here only. Runs in the demo's main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pyqs.demo import scenario

if TYPE_CHECKING:
    from pyqs.demo.run import Outcome

#: How much of the worker's log a failed demo shows, lines.
_TAIL = 40
#: How many of its problems.
_PROBLEMS = 10


def columns() -> tuple[ProgressColumn, ...]:
    """Of the progress bar."""
    return TextColumn("tasks run"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


class Screen:
    """The demo's side of the terminal, or of a pipe."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 140

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, nothing elsewhere; call what it yields with the number done."""
        with Progress(*columns(), console=self.console, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("tasks run", total=total)
            yield lambda done: bar.update(task, completed=done)

    def finish(self, outcome: Outcome) -> int:
        """Print the table, the poison message's reason, and whether all is as it must be; the exit code."""
        rows = scenario.rows(outcome.written, outcome.ledger)
        table = Table("queue", "written by")
        for heading in ("messages written", "tasks run", "messages left"):
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(
                row.queue, row.writer, str(row.written), str(row.runs), str(row.left), style="yellow" if row.left else None
            )
        table.add_section()
        totals = [sum(column) for column in zip(*((row.written, row.runs, row.left) for row in rows), strict=True)]
        table.add_row("", f"in {outcome.seconds:.1f} s", *map(str, totals))
        self.console.print(table)
        chained = sum(len(one.runs) - 1 for one in outcome.written if one.runs)
        self.say(f"One of Celery 5.7's messages was a chain: its {chained} later steps were written and run by pyqs.")
        if outcome.reason:
            self.say(f"The forged message is still on its queue (nothing unreadable is ever deleted): {outcome.reason}")
        problems = outcome.problems()
        if not problems:
            self.say("Every message ran exactly once; the forged one did not run and was not lost.")
            return 0
        for problem in problems[:_PROBLEMS]:
            self.say(f"NOT as it should be: {problem}")
        if len(problems) > _PROBLEMS:
            self.say(f"... and {len(problems) - _PROBLEMS} more.")
        self.say("The worker's last words:")
        self.say("\n".join(outcome.log.splitlines()[-_TAIL:]))
        return 1


def reason(log: str, message_id: str) -> str:
    """What the worker's log says about a message, without what leads up to the reason; "" if nothing."""
    for line in log.splitlines():
        if message_id and message_id in line:
            return line.partition(message_id)[2].partition(": ")[2]
    return ""
