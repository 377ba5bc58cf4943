"""Every option of every one of Celery 5.7's commands that is here, against what genuine Celery says it takes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import click
import pytest

from command_document import DOCUMENT, renewed
from pyqs import cli
from pyqs.commands import celery_face
from pyqs.commands.celery_options import CELERY, CELERY_OPTIONS, REFUSED_COMMANDS, CeleryOption, Fate, of
from pyqs.commands.group import group
from pyqs_celery_compat import version

HERE = Path(__file__).parent
RECORDED: dict[str, list[list[str]]] = json.loads((HERE / "celery57_options.json").read_text())
#: Commands of which this machine's file has options and we have, too.
OURS = [name for name in celery_face.COMMANDS if name in group.commands]


def test_the_record_is_what_genuine_celery_takes() -> None:
    python = os.environ.get("PYQS_INTEROP_CELERY57")
    if not python:
        pytest.skip("PYQS_INTEROP_CELERY57 names no Python with Celery 5.7 (see the interop session of noxfile.py)")
    said = subprocess.run([python, str(HERE / "record_options.py")], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == RECORDED


def test_the_table_is_of_the_celery_that_the_package_stands_for() -> None:
    assert version.CELERY == CELERY


def test_every_command_of_celerys_is_here_or_says_what_to_use() -> None:
    assert {*celery_face.COMMANDS, *REFUSED_COMMANDS} == set(RECORDED) - {""}


@pytest.mark.parametrize("command", ["", *OURS])
def test_every_option_has_its_row(command: str) -> None:
    told = {name for row in of(command) for name in row.names}
    taken = {name for names in RECORDED[command] for name in names}
    assert told == taken
    assert len(of("worker")) == 33


@pytest.mark.parametrize("command", OURS)
def test_what_works_is_an_option_of_the_command(command: str) -> None:
    own = {name for param in group.commands[command].params for name in (*param.opts, *param.secondary_opts)}
    for row in (*of(command), *of("")):
        if row.fate is Fate.WORKS and row.names != ("--version",):
            assert set(row.names) <= own, f"{command} {row.label}"


def typed(row: CeleryOption) -> list[str]:
    return [row.names[0]] if row.flag else [row.names[0], "1"]


@pytest.mark.parametrize("row", [row for row in CELERY_OPTIONS if row.fate is Fate.REFUSED], ids=lambda row: row.label)
def test_what_is_refused_says_what_to_do(row: CeleryOption, capsys: pytest.CaptureFixture[str]) -> None:
    if row.command not in group.commands:
        pytest.skip(f"{row.command} is not there")
    assert cli.main(["-A", "proj", row.command, *typed(row)], celerys=True) == 2
    assert f"{row.label} is not taken: {row.note}" in capsys.readouterr().err


@pytest.mark.parametrize("row", [row for row in CELERY_OPTIONS if row.fate is Fate.NO_EFFECT], ids=lambda row: row.label)
def test_what_has_no_effect_is_taken(row: CeleryOption) -> None:
    command = group.commands[row.command or "worker"]
    context = command.make_context(command.name, [*typed(row), *(["ping"] if command.name == "inspect" else [])])
    assert context.meta["pyqs.celery.notes"] == [f"{row.label} has no effect: {row.note}"]


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "threads", "custom"])
def test_other_pools_are_refused(pool: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["worker", "-Q", "a", "-P", pool]) == 2
    assert f"-P {pool} is not there" in capsys.readouterr().err


@pytest.mark.parametrize("name", REFUSED_COMMANDS)
def test_commands_that_are_not_here_say_what_to_use(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-A", "proj", name, "--some", "thing"], celerys=True) == 2
    assert f"celery {name} is not here: {REFUSED_COMMANDS[name]}" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["--version"], ["-A", "proj", "--version"], ["--version", "-A", "proj", "worker"]])
def test_the_version_is_celerys_and_ours(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line, celerys=True) == 0
    assert capsys.readouterr().out.startswith(f"{CELERY} (pyqs ")


@pytest.mark.parametrize("line", [[], ["-A", "proj"], ["--help"], ["-A", "proj", "--help"]])
def test_without_a_command_there_is_help(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line, celerys=True) == 0
    assert "Usage: celery [OPTIONS] COMMAND" in capsys.readouterr().out


def test_help_says_it_all() -> None:
    for command in OURS:
        shown = " ".join(group.commands[command].get_help(click.Context(group.commands[command], info_name=command)).split())
        for row in of(command):
            assert row.names[0] in shown
            if row.fate is not Fate.WORKS:
                assert row.note.split()[0] in shown


def test_the_document_is_made_from_the_table() -> None:
    text = DOCUMENT.read_text()
    assert text == renewed(text), "python tests/support/command_document.py writes it anew"
