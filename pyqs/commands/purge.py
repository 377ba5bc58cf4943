"""``pyqs purge``: empties queues, after a question.

Owns: the command. Runs in the main thread. Never empties a dead-letter queue that was not named literally, not even one that a
wildcard or an app's list of queues matches.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from pyqs import cli
from pyqs.commands import celery_parsing, options
from pyqs.commands import target as targets
from pyqs.commands.named import named
from pyqs.commands.queues import complaints
from pyqs.commands.shown import several
from pyqs.commands.target import say
from pyqs.errors import SqsError
from pyqs.queues.census import counts
from pyqs.queues.discovery import Found
from pyqs.queues.patterns import compile_patterns
from pyqs.sqs import Sqs, connect

#: Seconds between two purges of a queue that SQS insists on (API reference, PurgeQueue), with some to spare, and between tries.
PATIENCE = 70.0
_AGAIN = 5.0


@click.command("purge", cls=celery_parsing.Command, short_help="Delete all messages of queues.")
@options.queue_options
@options.app_options
@targets.force_option()
@targets.command_options
@celery_parsing.unheeded("purge")
def command(
    queues: tuple[str, ...], exclude: tuple[str, ...], app: str | None, force: bool, as_json: bool, **values: Any
) -> int:
    """Delete all messages of these queues: visible, in flight and delayed. There is no way back.

    \b
    pyqs purge -Q email-send
    pyqs purge -A proj -X reports -f

    It asks first; without a terminal it needs -f. Dead-letter queues are purged only where -Q names them literally. SQS may
    take a minute, in which messages still come, and allows one purge a minute: this command waits for that.
    """
    asked = named(queues, app, values)
    literal = {pattern.text for pattern in compile_patterns(queues) if not pattern.is_glob} if queues else set()
    sqs = connect(asked.connection)
    try:
        found = asked.found(sqs, exclude)
        for line in complaints(found, asked.patterns):
            say(line)
        if found.missing or not found.queues:
            return cli.EXIT_USAGE
        held = _to_purge(sqs, found, literal)
        return _purge(sqs, found, held, force=force, as_json=as_json)
    finally:
        sqs.close()


def _to_purge(sqs: Sqs, found: Found, literal: set[str]) -> dict[str, int | None]:
    """Name -> about how many messages it holds (None: that may not be asked), of those that are purged."""
    held: dict[str, int | None] = {}
    for name, url in sorted(found.queues.items()):
        named = any(pattern.text in literal for pattern in found.taken_by[name])
        if not named and (reason := _why_not(sqs, url)):
            say(f"{name}: left alone, {reason}; name it literally with -Q to purge it")
            continue
        try:
            held[name] = sum(counts(sqs.queue_attributes(url)))
        except SqsError as exc:
            if exc.retryable:
                raise
            held[name] = None
    return held


def _why_not(sqs: Sqs, url: str) -> str:
    """Why a queue that was not named literally is left alone, "" if it is not."""
    try:
        return "the dead-letter queue of another queue" if sqs.dead_letter_sources(url) else ""
    except SqsError as exc:
        if exc.retryable:
            raise
        return f"whether it is a dead-letter queue may not be asked ({exc})"


def _purge(sqs: Sqs, found: Found, held: dict[str, int | None], *, force: bool, as_json: bool) -> int:
    if not held:
        say("there is nothing to purge")
        return cli.EXIT_USAGE
    total = sum(count or 0 for count in held.values())
    what = ", ".join(f"{name} ({'?' if count is None else f'about {count}'})" for name, count in held.items())
    if not targets.confirmed(f"Delete all messages of {what}?", force=force, otherwise=f"nothing of {what} is deleted"):
        say("nothing was deleted")
        return cli.EXIT_USAGE
    failed: dict[str, str] = {}
    for name in held:
        try:
            _empty(sqs, name, found.queues[name])
        except SqsError as exc:
            failed[name] = str(exc)
    done = [name for name in held if name not in failed]
    if as_json:
        listed = [{"name": name, "url": found.queues[name], "messages": held[name]} for name in done]
        print(json.dumps({"purged": listed, "failed": failed}, indent=2))
    else:
        total = sum(held[name] or 0 for name in done)
        print(f"purged about {several(total, 'message')} of {several(len(done), 'queue')}")
        for line in failed.values():
            say(line)
    sys.stdout.flush()
    return cli.EXIT_USAGE if failed else cli.EXIT_OK


def _empty(sqs: Sqs, name: str, url: str) -> None:
    """PurgeQueue; after another purge of a moment ago SQS is asked again for a minute."""
    end = time.monotonic() + PATIENCE
    said = False
    while True:
        try:
            sqs.purge_queue(url)
            return
        except SqsError as exc:
            if not exc.code.endswith("PurgeQueueInProgress") or time.monotonic() + _AGAIN > end:
                raise
            if not said:
                say(f"{name}: it was purged less than a minute ago, and SQS allows one purge a minute: waiting for that")
                said = True
            time.sleep(_AGAIN)
