"""``pyqs status`` and ``pyqs inspect ping``: whether the workers of this machine live.

Owns: the question, asked of a health port or of heartbeat files, and Celery's form of the answer. Runs in the main thread. Asks
this machine only: no worker can be asked over SQS.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from pyqs import cli
from pyqs.commands import celery_parsing, local_workers, options
from pyqs.errors import ConfigError

#: Seconds that a health port may take.
_PATIENCE = 5.0
_REMEDIES = {
    "active": "`pyqs stats` shows what runs",
    "stats": "`pyqs stats`",
    "reserved": "`pyqs stats` shows what is held",
    "scheduled": "messages that are due later wait in SQS: `pyqs queues` counts them",
    "active_queues": "`pyqs queues` lists what a worker with the same options consumes",
    "conf": "`pyqs report -A proj`",
    "report": "`pyqs report -A proj`",
    "registered": "a worker's start lines count them; `pyqs shell -A proj`, then app.tasks",
    "revoked": "they are in the store of revoked ids (docs/results.md)",
    "query_task": "ask the result backend: `pyqs result -A proj ID`",
    "clock": "there is no logical clock on SQS",
    "memsample": "`pyqs stats` shows each executor's memory",
    "memdump": "`pyqs stats` shows each executor's memory",
    "objgraph": "use a profiler on the executor's pid, which `pyqs stats` shows",
}


def _shared(name: str) -> Callable[[options.F], options.F]:
    """What both commands take."""
    return options.together(
        options.option(
            "--health",
            env="HEALTH",
            type=options.HostPort(),
            metavar="[HOST:]PORT",
            help="Ask the worker behind this health port.",
        ),
        options.option("--heartbeat-file", env="HEARTBEAT_FILE", metavar="PATH", help="Look at this worker's heartbeat file."),
        click.option(
            "-d", "--destination", metavar="NODES", help="Only nodes of these names; of workers started as `celery worker`."
        ),
        click.option("-j", "--json", "as_json", is_flag=True, help="JSON."),
        options.app_options,
        celery_parsing.unheeded(name),
    )


@click.command("status", cls=celery_parsing.Command, short_help="Whether this machine's workers live.")
@_shared("status")
def status(**values: Any) -> int:
    """Say whether the workers of this machine live; exit code 1 when none does, for probes and HEALTHCHECK.

    \b
    pyqs status --health 8080
    pyqs status --heartbeat-file /run/pyqs/alive

    The variables PYQS_HEALTH and PYQS_HEARTBEAT_FILE are those of `pyqs worker`, so that in its container no option is needed.
    Without either it looks for workers that were started as `python -m pyqs_celery_compat worker`, Celery's command line.
    """
    return _answer(_ask(values), values, {})


@click.command("inspect", cls=celery_parsing.Command, short_help="`inspect ping`: as status.")
@click.argument("question", metavar="COMMAND", required=False)
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
@click.option("--list", "listing", is_flag=True, help="Print what can be asked.")
@_shared("inspect")
def inspect(question: str | None, rest: tuple[str, ...], listing: bool, **values: Any) -> int:
    """`inspect ping` says whether the workers of this machine live, as `pyqs status` does. Nothing else can be asked over
    SQS."""
    if listing:
        print("ping                            Whether the workers of this machine live.")
        return cli.EXIT_OK
    if question is None:
        raise click.UsageError("Missing argument 'COMMAND': ping is what can be asked")
    if question != "ping":
        raise ConfigError(
            f"inspect {question}: no worker can be asked over SQS; instead: {_REMEDIES[question]}"
            if question in _REMEDIES
            else f"inspect {question}: there is no such question; ping is what can be asked"
        )
    return _answer(_ask(values), values, {"ok": "pong"})


def _ask(values: dict[str, Any]) -> dict[str, str]:
    """Node -> "" where it lives, else what is wrong."""
    if values["health"] is not None:
        node, fault = _by_port(*values["health"])
        return {node: fault}
    if values["heartbeat_file"] is not None:
        fresh = local_workers.is_fresh(values["heartbeat_file"])
        return {values["heartbeat_file"]: "" if fresh else "its heartbeat file is not there, or was not renewed for 30 s"}
    wanted = options.items([values["destination"]]) if values["destination"] else ()
    return {
        one.node: "" if one.alive else "its heartbeat file was not renewed for 30 s"
        for one in local_workers.workers()
        if not wanted or one.node in wanted
    }


def _by_port(host: str, port: int) -> tuple[str, str]:
    node = f"{host}:{port}"
    asked = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host
    connection = http.client.HTTPConnection(asked, port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        said = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as exc:
        return node, f"no answer: {getattr(exc, 'strerror', None) or exc or type(exc).__name__}"
    finally:
        connection.close()
    return node, "" if answer.status == 200 else said


def _answer(found: dict[str, str], values: dict[str, Any], reply: dict[str, str]) -> int:
    """In Celery's form; the exit code."""
    alive = [node for node, fault in found.items() if not fault]
    for node, fault in found.items():
        if fault:
            print(f"pyqs: {node}: {fault}", file=sys.stderr)
    if not alive:
        print(
            "Error: no worker lives here"
            if found
            else "Error: no worker was found on this machine; name one with --health or "
            "--heartbeat-file (PYQS_HEALTH, PYQS_HEARTBEAT_FILE)",
            file=sys.stderr,
        )
        return cli.EXIT_CRASHED
    if values["as_json"]:
        print(json.dumps({node: reply or {"ok": "pong"} for node in alive}))
        return cli.EXIT_OK
    for node in alive:
        print(f"->  {node}: OK" + (f"\n        {reply['ok']}" if reply else ""))
    print(f"\n{len(alive)} {'node' if len(alive) == 1 else 'nodes'} online.")
    return cli.EXIT_OK
