"""``pyqs stats``: what workers do at this moment.

Owns: the command and its loop. Runs in the main thread; asks the workers' health ports and nothing else, so that it needs
neither AWS nor an app.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

import click

from pyqs import cli
from pyqs.commands import options
from pyqs.commands.stats_client import DEFAULT, Answer, ask_all, url_of


@click.command("stats", short_help="Watch workers: rates, running tasks, memory.")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@options.option(
    "--interval",
    env="STATS_INTERVAL",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Ask again after so long.",
)
@click.option("--once", is_flag=True, help="Ask once, and end.")
@click.option("--json", "as_json", is_flag=True, help="JSON: one document with --once, else a line for each time.")
def command(addresses: tuple[str, ...], interval: float, once: bool, as_json: bool) -> int:
    """Show what workers do: rates, running tasks with their messages and leases, memory, queues, executors.

    \b
    pyqs worker -Q email --health 8080 &
    pyqs stats
    pyqs stats 10.0.0.7:8080 10.0.0.8:8080 --once --json

    ADDRESS is where a worker's --health listens: [HOST:]PORT or a URL [default: 127.0.0.1:8080]. Ctrl-C ends it. A task that
    lasts less than 20 ms may never be seen to run. Exit code 2 when with --once nobody answers.
    """
    chosen = addresses or (DEFAULT,)
    for address in chosen:
        url_of(address)  # raises for what is no address
    show = _lines if as_json else _screen()
    if not once:
        _go_on(chosen, interval, show)
    answers = ask_all(chosen)
    if as_json:
        print(json.dumps(_document(answers), indent=2))
    else:
        show(answers)
    sys.stdout.flush()
    return cli.EXIT_OK if any(one.stats is not None for one in answers) else cli.EXIT_USAGE


def _document(answers: Sequence[Answer]) -> dict[str, object]:
    return {"time": round(time.time(), 3), "workers": [one.document() for one in answers]}


def _lines(answers: Sequence[Answer]) -> None:
    print(json.dumps(_document(answers)), flush=True)


def _screen() -> Callable[[Sequence[Answer]], None]:
    """Prints what the workers say, below what was printed before."""
    from pyqs.commands.shown import console
    from pyqs.commands.stats_view import print_once

    screen = console()
    return lambda answers: print_once(answers, screen)


def _go_on(addresses: Sequence[str], interval: float, show: Callable[[Sequence[Answer]], None]) -> None:
    """Until Ctrl-C: in place on a terminal, else one after the other."""
    if show is _lines or not sys.stdout.isatty():
        while True:
            show(ask_all(addresses))
            sys.stdout.flush()
            time.sleep(interval)
    from rich.live import Live

    from pyqs.commands.shown import console
    from pyqs.commands.stats_view import view

    with Live(view(ask_all(addresses)), console=console(), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            time.sleep(interval)
            live.update(view(ask_all(addresses)), refresh=True)
