"""The pid file of a service: one at a time, whole, and gone at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyqs.commands.daemon_files import pid_file
from pyqs.commands.node_name import expand, node_name
from pyqs.errors import ConfigError


def test_it_holds_the_pid_while_something_is_done(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        assert os.listdir(tmp_path) == ["w.pid"]
    assert not path.exists()


def test_of_a_living_process_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(ConfigError, match=f"has the pid {os.getppid()}, and that process lives"), pid_file(str(path)):
        raise AssertionError
    assert path.read_text() == f"{os.getppid()}\n"
    assert os.listdir(tmp_path) == ["w.pid"]


@pytest.mark.parametrize("text", ["", "no pid", "-1", "0", "9" * 30, "own"])
def test_what_names_no_other_living_process_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.pid"
    path.write_text(str(os.getpid()) if text == "own" else text)
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_of_a_dead_process_it_is_replaced(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "w.pid"
    path.write_text(str(dead.pid))
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_anothers_file_is_left_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    with pid_file(str(path)):
        path.write_text("1\n")
    assert path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="cannot be written: No such file or directory"),
        pid_file(str(tmp_path / "no" / "w.pid")),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("w1@%h", "w1@box.lan"), ("w1", "celery@w1"), ("w1@%n", "w1@box"), ("%n@%d", "box@lan"), ("w-%i@%h", "w-0@box.lan"),
        ("@x", "celery@x"),
    ],
)  # fmt: skip
def test_names_as_celery_makes_them(monkeypatch: pytest.MonkeyPatch, given: str, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box.lan")
    assert node_name(given) == name


def test_parts_of_a_name_in_paths() -> None:
    assert expand("/var/log/%n%I.log %h %p %%", "--logfile", "w1@vm") == "/var/log/w1.log vm w1@vm %"
    with pytest.raises(ConfigError, match=r"--logfile: %x in .* stands for nothing"):
        expand("%x", "--logfile", "w1@vm")
