"""``pyqs dlq redrive``: SQS itself moves a dead-letter queue's messages back, in the background.

Owns: the command. Runs in the main thread. The work is SQS's (StartMessageMoveTask): it goes on when this process ends, and
``--cancel`` stops it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

import click

from pyqs import cli
from pyqs.commands import target as targets
from pyqs.commands.dead_letters import find_graveyard
from pyqs.commands.progress import bar
from pyqs.commands.shown import span
from pyqs.commands.target import say
from pyqs.errors import ConfigError, SqsError
from pyqs.message import MoveTask
from pyqs.sqs import Sqs

_LOOK = 1.0
_ACTIVE = ("RUNNING", "CANCELLING")
#: Why a task failed, as SQS names it -> what to do.
_ADVICE = {
    "CouldNotDetermineMessageSource": "some messages were not moved there by SQS (a worker's copies are none of its own): "
    "pyqs dlq retry sends those back, or --to QUEUE says where all go",
    "AWS.SimpleQueueService.NonExistentQueue": "a queue that they came from is no longer there: --to QUEUE",
}


@click.command("redrive", short_help="Have SQS move all of them back, in the background.")
@click.argument("queue")
@click.option("--to", metavar="QUEUE", help="Where they go [default: each to the queue it came from].")
@click.option("--rate", type=click.IntRange(1, 500), metavar="N", help="Messages a second [default: SQS's choice].")
@click.option("--wait/--no-wait", default=True, help="Show how far it is until it is done.")
@click.option("--status", is_flag=True, help="Only show the latest tasks.")
@click.option("--cancel", is_flag=True, help="Stop the one that runs; what was moved stays moved.")
@targets.force_option()
@targets.command_options
def command(queue: str, status: bool, cancel: bool, as_json: bool, **values: Any) -> int:
    """Have SQS move all messages back to the queues they came from, or to another one (StartMessageMoveTask).

    It goes on by itself if this command ends. SQS moves what it has moved there itself; copies that a worker has made (with a
    reason) it moves only with --to, and their reason with them: `retry` is for those. Moved messages are new ones: another id,
    sent now, received never. Exit code 2 when the task fails.
    """
    to, rate, wait, force = (values.pop(name) for name in ("to", "rate", "wait", "force"))
    if status and cancel:
        raise ConfigError("--status and --cancel exclude each other")
    with targets.connected(values) as sqs:
        graveyard = find_graveyard(sqs, queue)
        name, url = graveyard.target
        arn = sqs.queue_attributes(url, ("QueueArn",))["QueueArn"]
        if status:
            return _show(sqs.list_moves(arn), name, as_json)
        if cancel:
            return _cancel(sqs, arn, name, as_json)
        target = targets.find(sqs, to) if to else None
        where = target.name if target else ", ".join(sorted(graveyard.sources)) or "the queues they came from"
        question = f"Have SQS move all messages of {name} to {where}, to run again?"
        if not targets.confirmed(question, force=force, otherwise="nothing is moved"):
            say("nothing was moved")
            return cli.EXIT_USAGE
        destination = sqs.queue_attributes(target.url, ("QueueArn",))["QueueArn"] if target else None
        sqs.start_move(arn, destination, rate)
        task = _watch(sqs, arn, name) if wait else next(iter(sqs.list_moves(arn)), None)
    return _show([task] if task else [], name, as_json)


def _watch(sqs: Sqs, arn: str, name: str) -> MoveTask:
    """The task, once it is over. Ctrl-C leaves it alone."""
    try:
        with bar("moved", None) as told:
            while True:
                found = sqs.list_moves(arn, 1)
                if found:
                    told(found[0].moved)
                    if found[0].status not in _ACTIVE:
                        return found[0]
                time.sleep(_LOOK)
    except (KeyboardInterrupt, SqsError):
        say(f"SQS goes on with it: pyqs dlq redrive {name} --status shows how far it is, --cancel stops it")
        raise


def _cancel(sqs: Sqs, arn: str, name: str, as_json: bool) -> int:
    running = next((task for task in sqs.list_moves(arn) if task.handle), None)
    if running is None or running.handle is None:
        raise ConfigError(f"{name}: no move task runs")
    moved = sqs.cancel_move(running.handle)
    print(
        json.dumps({"queue": name, "cancelled": True, "moved": moved}) if as_json else f"{name}: stopped after {moved} messages"
    )
    return cli.EXIT_OK


def _show(tasks: list[MoveTask], name: str, as_json: bool) -> int:
    if as_json:
        shown = [{key: value for key, value in dataclasses.asdict(task).items() if key != "handle"} for task in tasks]
        print(json.dumps({"queue": name, "tasks": shown}, indent=2))
    else:
        for task in tasks:
            print(_line(task))
        if not tasks:
            print(f"{name}: SQS has no move task to tell of")
    sys.stdout.flush()
    failed = tasks[0].reason or "it does not say why" if tasks and tasks[0].status == "FAILED" else ""
    if failed and not as_json:
        say(f"{name}: the task failed: {failed}" + (f"; {_ADVICE[failed]}" if failed in _ADVICE else ""))
    return cli.EXIT_USAGE if failed else cli.EXIT_OK


def _line(task: MoveTask) -> str:
    where = task.destination_arn.rpartition(":")[2] if task.destination_arn else "where they came from"
    count = f"{task.moved} of {task.to_move}" if task.to_move is not None else str(task.moved)
    began = span(max(0.0, time.time() - task.started_ms / 1000))
    return f"{task.status.lower()}: {count} moved to {where}, begun {began} ago"
