"""``pyqs stats`` for people: one block for each worker.

Owns: what is shown and how. Loads rich. Names come from messages: they are shown without anything that a terminal would obey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pyqs.commands.shown import printable, size, span
from pyqs.commands.stats_client import Answer

#: Executors, and queues, of one worker that are shown; --json has all.
MOST_EXECUTORS = 40
MOST_QUEUES = 30
_STATES = ("busy", "idle", "starting", "leaving")


def view(answers: Sequence[Answer]) -> RenderableType:
    """All workers, one below the other."""
    return Group(*(_worker(one) for one in answers))


def _worker(answer: Answer) -> RenderableType:
    title = Text(printable(answer.address, 100))
    if answer.stats is None:
        return Panel(Text(printable(answer.error, 400), "red"), title=title, title_align="left", border_style="red")
    try:
        return Panel(_block(answer.stats), title=title, title_align="left")
    except (KeyError, TypeError, ValueError, AttributeError) as exc:  # another version's document, or somebody else's
        text = f"its figures cannot be read ({type(exc).__name__}); has it another version of pyqs?"
        return Panel(Text(text, "red"), title=title, title_align="left", border_style="red")


def _block(stats: dict[str, Any]) -> RenderableType:
    head = f"pyqs {printable(str(stats['pyqs']), 40)}, pid {stats['pid']}, {printable(str(stats['state']), 20)}"
    if "rates" not in stats:
        return Text(head)
    executors, memory = stats["executors"], stats["memory"]
    states = Counter(one["state"] for one in executors)
    named = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state]) or "none"
    slots = f", each with {stats['async_slots']} slots" if stats["async_slots"] > 1 else ""
    lines = [
        f"{head} for {span(stats['seconds'])}; memory {_memory(memory)}, with executors {_all_memory(memory, executors)}",
        f"executors: {named} (of {stats['concurrency']}{slots})",
        _rates(stats["rates"]),
        _totals(stats),
    ]
    parts: list[RenderableType] = [Text(line) for line in lines]
    failing = {call: count for call, count in stats["calls_failing"].items() if count}
    if failing:
        parts.append(Text("failing: " + ", ".join(f"{call} on {count} queues" for call, count in failing.items()), "red"))
    parts += [Text(), _queues(stats["queues"])]
    parts += [Text(), _executors(executors)]
    return Group(*parts)


def _rates(rates: dict[str, Any]) -> str:
    ended = ", ".join(f"{value:.1f} {printable(status, 40)}" for status, value in rates["ended"].items()) or "none"
    window = f"last {rates['seconds']:.0f} s"
    return f"per second, {window}: {rates['received']:.1f} received, {rates['started']:.1f} started; ended: {ended}"


def _totals(stats: dict[str, Any]) -> str:
    totals = stats["totals"]
    ended = ", ".join(f"{count} {printable(status, 40)}" for status, count in totals["ended"].items()) or "none"
    extra = {"released": "released", "lost": "lost", "leases_lost": "leases lost", "restarts": "executors died"}
    more = "".join(f", {totals[name]} {words}" for name, words in extra.items() if totals[name])
    held = f"held {stats['held']} ({stats['buffered']} with no executor), {stats['verdicts_pending']} verdicts pending"
    return f"in all: {totals['received']} received, {totals['started']} started; ended: {ended}{more}; {held}"


def _queues(queues: Sequence[dict[str, Any]]) -> RenderableType:
    table = _table(("queue", False), ("state", False), ("received", True), ("started", True), ("ended", True))
    for one in queues[:MOST_QUEUES]:
        if one["failing"] is not None:
            state, style = f"failing for {span(one['failing'])}", "red"
        elif one["at_in_flight_limit"]:
            state, style = "at its in-flight limit", "red"
        else:
            state, style = ("up", "") if one["up"] else ("not asked yet", "yellow")
        table.add_row(
            Text(printable(one["name"], 80)),
            Text(state, style),
            str(one["received"]),
            str(one["started"]),
            str(sum(one["ended"].values())),
        )
    return table if len(queues) <= MOST_QUEUES else Group(table, Text(f"... and {len(queues) - MOST_QUEUES} more"))


def _executors(executors: Sequence[dict[str, Any]]) -> RenderableType:
    """Each with the tasks that it runs, the longest first; then those that run none."""
    table = _table(
        ("executor", True), ("state", False), ("memory", True), ("task", False), ("queue", False), ("message", False),
        ("runs for", True), ("held for", True), ("lease left", True),
    )  # fmt: skip
    rows = [(one, task) for one in executors for task in one["tasks"] or (None,)]
    rows.sort(key=lambda row: -row[1]["seconds"] if row[1] else 1)
    for one, task in rows[:MOST_EXECUTORS]:
        cells = [Text("-", "dim")] * 6
        if task:
            names = ((task["name"], 60), (task["queue"], 80), (task["message_id"], 40))
            cells = [Text(printable(name, limit)) for name, limit in names]
            cells += [Text(span(task[key])) for key in ("seconds", "held", "lease_left")]
        table.add_row(f"{one['number']} ({one['pid']})", printable(one["state"], 20), _memory(one["memory"]), *cells)
    return table if len(rows) <= MOST_EXECUTORS else Group(table, Text(f"... and {len(rows) - MOST_EXECUTORS} more"))


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, to_the_right in columns:
        table.add_column(heading, justify="right" if to_the_right else "left", no_wrap=True)
    return table


def _memory(memory: dict[str, Any] | None) -> str:
    """Its share of what several have in common, where that is known; else what is resident."""
    if memory is None:
        return "-"
    return size(memory["rss"]) if memory["pss"] is None else size(memory["pss"])


def _all_memory(own: dict[str, Any] | None, executors: Sequence[dict[str, Any]]) -> str:
    """In sum; only shares can be added up."""
    shares = [one["pss"] if one else None for one in (own, *(executor["memory"] for executor in executors))]
    return "-" if None in shares else size(sum(int(share or 0) for share in shares))


def print_once(answers: Sequence[Answer], screen: Console) -> None:
    """The blocks, once."""
    screen.print(view(answers))
