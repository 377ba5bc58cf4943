"""``pyqs peek``: messages of a queue, taken apart and left where they are.

Owns: the command and its three forms of output. Runs in the main thread. Never deletes, never loads a pickle, never imports
anything of an app.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from pyqs import cli
from pyqs.commands import target as targets
from pyqs.commands.anatomy import anatomy
from pyqs.commands.looking import Look, check_cost, of_receives
from pyqs.commands.shown import several, span


@click.command("peek", short_help="Look at messages without taking them.")
@click.argument("queue")
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many messages.")
@click.option("--raw", is_flag=True, help="The bodies as they are, a line break after each; with --json beside what they say.")
@click.option(
    "--length", type=click.IntRange(min=1), default=400, show_default=True, help="Characters of the arguments that are shown."
)
@targets.force_option("Look even if a message has few receives (maxReceiveCount).")
@targets.command_options
def command(queue: str, count: int, raw: bool, length: int, force: bool, as_json: bool, **values: Any) -> int:
    """Receive messages of QUEUE (a name, URL or ARN), show what they say, and make them visible again at once.

    It costs each of them a receive, which SQS counts: where a RedrivePolicy gives a message few of them, it asks for --force.
    On a FIFO queue the messages' groups are locked for that moment. Pickles are taken apart, never loaded. Which messages
    come, and in which order, is SQS's choice, but on FIFO queues.
    """
    with targets.connected(values) as sqs:
        target = targets.find(sqs, queue)
        redrive = check_cost(sqs, target, force=force)
        if target.is_fifo:
            targets.say(f"{target.name}: FIFO: while they are looked at, the messages' groups are locked")
        with Look(sqs, target) as look:
            found = [message for batch in look.messages(count) for message in batch]
    known = [anatomy(message, target.name, limit=length) for message in found]
    if as_json:
        listed = [one.document(body=raw) for one in known]
        print(json.dumps({"queue": target.name, "url": target.url, "messages": listed}, indent=2))
    elif raw:
        for message in found:
            print(message.body)
    else:
        for one in known:
            print("\n".join(one.lines(receives=of_receives(redrive, one.receives), limit=length)), end="\n\n")
        oldest = max((one.age for one in known if one.age is not None), default=None)
        what = f"{several(len(known), 'message')} of {target.name}, visible again"
        print(f"{what}; the oldest of them was sent {span(oldest)} ago" if known else f"{target.name}: no message is visible")
    sys.stdout.flush()
    return cli.EXIT_OK
