"""``pyqs dlq``: what lies in a dead-letter queue and why, and sending it back.

Owns: the commands ``list``, ``show``, ``retry`` and ``redrive`` and their output. Runs in the main thread. Everything that is
received is given back or, once its copy was accepted, deleted; nothing a message holds is loaded, imported or run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from pyqs import cli
from pyqs.commands import target as targets
from pyqs.commands.anatomy import Anatomy, anatomy
from pyqs.commands.dead_letters import Choice, Graveyard, Retry, Tally, cause, find_graveyard
from pyqs.commands.looking import Look, check_cost
from pyqs.commands.progress import bar
from pyqs.commands.redrive import command as redrive
from pyqs.commands.shown import console, printable, several, span
from pyqs.commands.target import say
from pyqs.errors import ConfigError, SqsError
from pyqs.queues.census import counts
from pyqs.sqs import Sqs

#: Messages that are looked at for a listing; each is hidden for that time and costs a receive.
LOOKED_AT = 1000
#: Ids of a group, and characters of a reason, that are shown.
_IDS = 10
_REASON = 100
#: Problems that are told one by one.
_PROBLEMS = 10


@click.group("dlq", short_help="Look into a dead-letter queue, and send messages back.")
def group() -> None:
    """What lies in a dead-letter queue and why, and sending it back.

    \b
    pyqs dlq list email-dlq
    pyqs dlq retry email-dlq --task 'email.send' --rate 5
    pyqs dlq redrive email-dlq

    QUEUE is a dead-letter queue (a name, URL or ARN), or a queue that has one.
    """


group.add_command(redrive)


@group.command("list", short_help="Count what lies there, by task, reason and source.")
@click.argument("queue")
@click.option(
    "-n", "--count", type=click.IntRange(1, 100_000), default=LOOKED_AT, show_default=True, help="Look at so many messages."
)
@targets.force_option("Look even if a message has few receives (maxReceiveCount).")
@targets.command_options
def list_(queue: str, count: int, force: bool, as_json: bool, **values: Any) -> int:
    """How many messages lie there, by task, reason and the queue they came from.

    The reason is what a worker has written on its copy; "received too often" is SQS's own doing. They are hidden while they are
    counted, and visible again after it. Of a FIFO queue's groups the first ten messages are seen.
    """
    with targets.connected(values) as sqs:
        graveyard = find_graveyard(sqs, queue)
        check_cost(sqs, graveyard.target, force=force)
        about = _depth(sqs, graveyard)
        found: list[Anatomy] = []
        with bar("looked at", min(count, about) if about else None) as told, Look(sqs, graveyard.target) as look:
            for batch in look.messages(count):
                found += [anatomy(one, graveyard.target.name) for one in batch]
                told(len(found))
    groups = grouped(found)
    if as_json:
        document = {
            "queue": graveyard.target.name,
            "url": graveyard.target.url,
            "sources": sorted(graveyard.sources),
            "messages": about,
            "looked_at": len(found),
            "groups": groups,
        }
        print(json.dumps(document, indent=2))
    else:
        _print_groups(groups, graveyard.target.name, len(found), about)
    sys.stdout.flush()
    return cli.EXIT_OK


def grouped(found: Sequence[Anatomy]) -> list[dict[str, Any]]:
    """By task, reason and origin, the largest group first."""
    groups: dict[tuple[str, str, str], list[Anatomy]] = {}
    for one in found:
        groups.setdefault((one.task, cause(one), one.origin), []).append(one)
    listed = [
        {
            "task": task or None,
            "reason": reason,
            "source": origin or None,
            "count": len(ones),
            "oldest_age": max((round(one.age, 3) for one in ones if one.age is not None), default=None),
            "message_ids": [one.message.message_id for one in ones[:_IDS]],
        }
        for (task, reason, origin), ones in groups.items()
    ]
    return sorted(listed, key=lambda one: -int(str(one["count"])))


def _print_groups(groups: Sequence[dict[str, Any]], name: str, seen: int, about: int | None) -> None:
    from rich.table import Table

    screen = console()
    if groups:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("messages", justify="right")
        for heading in ("task", "reason", "from", "oldest", "one of them"):
            table.add_column(heading)
        for one in groups:
            table.add_row(
                str(one["count"]),
                printable(one["task"] or "-", 80),
                printable(one["reason"], _REASON),
                printable(one["source"] or "-"),
                span(one["oldest_age"]),
                one["message_ids"][0],
            )
        screen.print(table)
    more = f" of about {about}" if about is not None and about > seen else ""
    screen.print(f"{name}: {several(seen, 'message')}{more} looked at" if seen else f"{name}: no message is visible")


@group.command("show", short_help="Show one message, and why it is there.")
@click.argument("queue")
@click.argument("message_id", metavar="MESSAGE-ID")
@click.option("--length", type=click.IntRange(min=1), default=10_000, show_default=True, help="Characters of the arguments.")
@targets.force_option("Look even if a message has few receives (maxReceiveCount).")
@targets.command_options
def show(queue: str, message_id: str, length: int, force: bool, as_json: bool, **values: Any) -> int:
    """One message: what it says, why it is there and where it came from. SQS finds no message by its id: all are looked at."""
    with targets.connected(values) as sqs:
        graveyard = find_graveyard(sqs, queue)
        check_cost(sqs, graveyard.target, force=force)
        with Look(sqs, graveyard.target) as look:
            found = next((one for batch in look.messages() for one in batch if one.message_id == message_id), None)
    if found is None:
        raise _not_there(graveyard, message_id)
    one = anatomy(found, graveyard.target.name, limit=length)
    if as_json:
        known = {"reason": cause(one), "source": one.origin or None}
        print(json.dumps({**one.document(body=True), **known}, indent=2))
    else:
        print("\n".join(one.lines(limit=length)))
    return cli.EXIT_OK


@group.command("retry", short_help="Send one or many back to the queues they came from.")
@click.argument("queue")
@click.argument("message_id", metavar="[MESSAGE-ID]", default="")
@click.option("--task", default="", metavar="NAME", help="Those of this task; wildcards as in 'email.*'.")
@click.option("--reason", default="", metavar="TEXT", help="Those with this reason, as `list` shows it; wildcards.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="At most so many [default: as many as lie there at the start].")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="So many a second [default: no limit].")
@click.option("--to", metavar="QUEUE", help="Where they go [default: each to the queue it came from].")
@targets.force_option("Do not ask, and look even if a message has few receives (maxReceiveCount).")
@targets.command_options
def retry(queue: str, message_id: str, everything: bool, to: str | None, **values: Any) -> int:
    """Send one message (MESSAGE-ID) or many back to the queues they came from, where they run again.

    A message is sent as its queue had it, and deleted here once SQS has accepted that: killed in between, it is in both places.
    Exit code 2 when one of those that were meant could not be sent.
    """
    choice = Choice(message_id, values.pop("task"), values.pop("reason"))
    chosen = bool(choice.task or choice.reason)
    if bool(message_id) + chosen + everything != 1:
        raise ConfigError("which messages? give a MESSAGE-ID, or --task and --reason, or --all")
    rate, count, force, as_json = (values.pop(name) for name in ("rate", "count", "force", "as_json"))
    with targets.connected(values) as sqs:
        graveyard = find_graveyard(sqs, queue)
        target = targets.find(sqs, to) if to else None
        check_cost(sqs, graveyard.target, force=force)
        about = _depth(sqs, graveyard)
        where = target.name if target else ", ".join(sorted(graveyard.sources)) or "the queues they came from"
        about_how_many = "nobody knows how many are" if about is None else f"about {about} are"
        meant = "all messages" if everything else "the chosen messages"
        question = f"Send {meant} of {graveyard.target.name} ({about_how_many} there) to {where}, to run again?"
        if not message_id and not targets.confirmed(question, force=force, otherwise="nothing is sent back"):
            say("nothing was sent back")
            return cli.EXIT_USAGE
        tally = _retry(sqs, graveyard, choice, target, rate, count or about or None)
    if message_id and not tally.total and not tally.problems:
        raise _not_there(graveyard, message_id)
    _report(tally, graveyard, as_json)
    return cli.EXIT_USAGE if tally.problems else cli.EXIT_OK


def _retry(
    sqs: Sqs, graveyard: Graveyard, choice: Choice, target: targets.Target | None, rate: float | None, most: int | None
) -> Tally:
    with bar("sent back", most) as told, Look(sqs, graveyard.target) as look:
        work = Retry(sqs, graveyard, to=target, rate=rate, told=told)
        try:
            return work.run(look, lambda message: anatomy(message, graveyard.target.name), choice, most)
        except KeyboardInterrupt:
            say(f"stopped; {several(work.tally.total, 'message')} had been sent back by then")
            raise


def _report(tally: Tally, graveyard: Graveyard, as_json: bool) -> None:
    if as_json:
        document = {
            "queue": graveyard.target.name,
            "retried": tally.total,
            "to": dict(tally.sent),
            "others": tally.others,
            "problems": tally.problems,
        }
        print(json.dumps(document, indent=2))
    else:
        where = ", ".join(f"{count} to {name}" for name, count in sorted(tally.sent.items()) if count) or "none"
        print(f"{graveyard.target.name}: {tally.total} sent back ({where}); {several(tally.others, 'other')} left")
        for line in tally.problems[:_PROBLEMS]:
            say(line)
        if len(tally.problems) > _PROBLEMS:
            say(f"and {len(tally.problems) - _PROBLEMS} more; --json has all")
    sys.stdout.flush()


def _depth(sqs: Sqs, graveyard: Graveyard) -> int | None:
    """About how many messages lie there; None where that may not be asked."""
    try:
        return sum(counts(sqs.queue_attributes(graveyard.target.url)))
    except SqsError as exc:
        if exc.retryable:
            raise
        return None


def _not_there(graveyard: Graveyard, message_id: str) -> ConfigError:
    hint = "; of a FIFO queue's groups only the first ten messages can be seen" if graveyard.target.is_fifo else ""
    return ConfigError(f"{graveyard.target.name}: no message {message_id} is visible there (somebody may hold it){hint}")
