"""What the command prints and refuses; the process itself is tested in tests/process/test_local_durability.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyqs.local import serve
from pyqs.local.__main__ import main
from pyqs.local.server import LocalServer
from pyqs.local.store import Store


@pytest.fixture
def server() -> Iterator[LocalServer]:
    store = Store()
    with LocalServer(store) as server:
        yield server
    store.close()


def test_a_host_that_others_reach_is_warned_about(server, capsys):
    serve._announce(server, "0.0.0.0", None, False)
    assert "reachable from other machines" in capsys.readouterr().err
    serve._announce(server, "127.0.0.1", None, False)
    assert capsys.readouterr().err == ""


def test_variables_that_are_set_are_not_printed(server, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    serve._announce(server, "127.0.0.1", "x.db", False)
    assert capsys.readouterr().out.splitlines() == [
        f"# pyqs local: SQS on {server.endpoint_url}; queues are kept in x.db",
        f"export AWS_ENDPOINT_URL_SQS={server.endpoint_url}",
    ]


def test_the_note_about_memory_goes_when_memory_was_asked_for(server, capsys):
    serve._announce(server, "127.0.0.1", None, True)
    assert "--db" not in capsys.readouterr().out
    serve._announce(server, "127.0.0.1", None, False)
    assert "--db FILE keeps them" in capsys.readouterr().out


def test_a_wrong_option_is_one_line_and_exit_2(capsys):
    assert main(["--port", "0", "--fault", "nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
