"""``pyqs send``: puts messages on a queue, one or many.

Owns: the command, and what a line of JSONL says. Runs in the main thread. Imports no task: a native message names one, and what
becomes of it is the worker's business.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any

import click

from pyqs import cli, logs
from pyqs.codec import encode_call
from pyqs.commands import options
from pyqs.commands import target as targets
from pyqs.commands.progress import bar
from pyqs.commands.shown import several
from pyqs.errors import ConfigError, PyQSError, SendFailed
from pyqs.message import OutgoingMessage, SentMessage
from pyqs.producer import Producer

#: Messages that are read and sent at a time.
_CHUNK = 500
#: What a line may say.
_KEYS = {"task": str, "args": list, "kwargs": dict, "delay": int, "group": str, "dedup_id": str}


@dataclass(frozen=True, slots=True)
class Template:
    """What the command line says of every message. ``raw`` takes what is read as the body, whatever it is."""

    task: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    delay: int | None = None
    group: str | None = None
    dedup_id: str | None = None
    raw: bool = False

    def message(self, text: str = "") -> OutgoingMessage:
        """One message; ``text`` is the body where that is raw.

        Raises:
            ConfigError: nobody names the task.
        """
        if not self.raw and not self.task:
            raise ConfigError('it names no task: give TASK, or {"task": ...}')
        body = text if self.raw else encode_call(self.task or "", self.args, self.kwargs)
        if not body:
            raise ConfigError("an empty body, which SQS does not take")
        return OutgoingMessage(body, delay=self.delay, group_id=self.group, dedup_id=self.dedup_id)

    def of_line(self, line: str) -> OutgoingMessage:
        """The message of one line of JSONL: what it says comes before what the command line says.

        Raises:
            ConfigError: it is no such object.
        """
        if self.raw:
            return self.message(line)
        said = _parsed(line, "the line")
        if not isinstance(said, dict):
            raise ConfigError("a line is a JSON object with task, args, kwargs, delay, group or dedup_id")
        for key, value in said.items():
            if key not in _KEYS:
                raise ConfigError(f"{key!r} is none of {', '.join(_KEYS)}")
            if not isinstance(value, _KEYS[key]) or isinstance(value, bool):
                raise ConfigError(f"{key!r} is not a {_KEYS[key].__name__}")
        return replace(self, **said).message()


@click.command("send", short_help="Send messages.")
@click.argument("task", required=False)
@options.option("-Q", "--queue", "queue", env="QUEUE", required=True, metavar="QUEUE", help="Where to: a name, URL or ARN.")
@click.option("--args", "args", default="[]", metavar="JSON", help="Positional arguments, a JSON list.")
@click.option("--kwargs", "kwargs", default="{}", metavar="JSON", help="Keyword arguments, a JSON object.")
@click.option("--raw", is_flag=True, help="The body is what stands on standard input, as it is.")
@click.option("--jsonl", is_flag=True, help="One message for each line of standard input; with --raw a line is the body.")
@click.option("--delay", type=click.IntRange(0, 900), metavar="SECONDS", help="Deliver it so much later; not on FIFO queues.")
@click.option("--group", metavar="ID", help="Message group; on FIFO queues 'default' unless given.")
@click.option("--dedup-id", "dedup_id", metavar="ID", help="Deduplication id, on FIFO queues [default: a new one].")
@options.option(
    "--create-queues/--no-create-queues", "create", env="CREATE_QUEUES", default=False, help="Create a queue that is missing."
)
@targets.command_options
def command(task: str | None, queue: str, raw: bool, jsonl: bool, create: bool, as_json: bool, **values: Any) -> int:
    """Send one call of TASK as a native message, or any body, or one message for each line of standard input.

    \b
    pyqs send email_tasks.send -Q email-send --args '["a@example.com"]' --delay 60
    pyqs send -Q email-send --raw < body.json
    pyqs send email_tasks.send -Q email-send --jsonl < calls.jsonl

    A line of JSONL is {"args": [...], "kwargs": {...}}, and may have task, delay, group and dedup_id of its own. A wrong line
    ends it, with its number; what stood before it has been sent.
    """
    template = _template(task, raw, jsonl, values)
    connection, _ = options.take_connection(values)
    logs.configure(values["log_level"], secrets=(connection.secret_access_key, connection.session_token))
    producer = Producer(connection, create_queues=create)
    if jsonl:
        return _send_lines(producer, queue, template, sys.stdin, as_json)
    message = template.message(sys.stdin.read() if raw else "")
    sent = producer.send(queue, message, task=task or "")
    if as_json:
        found = {"queue": queue, "sent": 1, "message_id": sent.message_id, "sequence_number": sent.sequence_number}
        print(json.dumps(found))
    else:
        print(f"sent {sent.message_id} to {queue}")
    return cli.EXIT_OK


def _template(task: str | None, raw: bool, jsonl: bool, values: dict[str, Any]) -> Template:
    args, kwargs = _parsed(values.pop("args"), "--args"), _parsed(values.pop("kwargs"), "--kwargs")
    if not isinstance(args, list):
        raise ConfigError("--args is a JSON list, such as '[1, \"two\"]'")
    if not isinstance(kwargs, dict):
        raise ConfigError("--kwargs is a JSON object, such as '{\"name\": 1}'")
    delay, group, dedup_id = (values.pop(name) for name in ("delay", "group", "dedup_id"))
    if raw and (task or args or kwargs):
        raise ConfigError("with --raw the body says everything: TASK, --args and --kwargs have no place in it")
    if not raw and not jsonl and not task:
        raise ConfigError("what is to be sent? give TASK, or --raw or --jsonl and something on standard input")
    if jsonl and dedup_id:
        raise ConfigError("one --dedup-id for many messages would leave one of them; give each line its own")
    return Template(task, tuple(args), kwargs, delay, group, dedup_id, raw)


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ConfigError(f"{what}: JSON nested too deeply") from None
    except ValueError as exc:
        raise ConfigError(f"{what} is not JSON: {exc}") from None


def _send_lines(producer: Producer, queue: str, template: Template, lines: IO[str], as_json: bool) -> int:
    numbered = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, 1) if line.strip())
    sent, problem = 0, ""
    with bar("sent", None) as told:
        while not problem:
            messages, problem = _chunk(template, numbered)
            if not messages:
                break
            try:
                producer.send_many(queue, messages, task=template.task or "")
                sent += len(messages)
            except SendFailed as exc:
                sent += sum(isinstance(one, SentMessage) for one in exc.results)
                problem = str(exc)
            except PyQSError as exc:
                problem = str(exc)
            told(sent)
    if as_json:
        print(json.dumps({"queue": queue, "sent": sent, "problem": problem or None}))
    else:
        print(f"sent {several(sent, 'message')} to {queue}")
    sys.stdout.flush()
    if problem:
        targets.say(f"error: {problem}")
    return cli.EXIT_USAGE if problem else cli.EXIT_OK


def _chunk(template: Template, numbered: Iterator[tuple[int, str]]) -> tuple[list[OutgoingMessage], str]:
    """The next messages, and what is wrong with the line behind them, "" if nothing is."""
    messages: list[OutgoingMessage] = []
    for number, line in islice(numbered, _CHUNK):
        try:
            messages.append(template.of_line(line))
        except PyQSError as exc:
            return messages, f"line {number}: {exc}; what stood before it was sent, nothing after it"
    return messages, ""
