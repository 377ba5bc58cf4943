"""Signals that end a worker: to whom they go, how soon it leaves, and what becomes of every message."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

#: Seconds that a loaded test machine may add to what is promised.
LOADED = 5.0


def to_parent(worker: Any) -> None:
    os.kill(worker.pid, signal.SIGTERM)


def to_group(worker: Any) -> None:
    os.killpg(worker.pid, signal.SIGTERM)


def to_everyone(worker: Any) -> None:
    for pid in reversed(worker.everyone()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("send", [to_parent, to_group, to_everyone])
def test_sigterm_to_a_busy_worker_loses_and_hides_nothing(start_worker: Any, sqs: Any, send: Any) -> None:
    sqs.create("jobs", "quick")
    worker = start_worker("-Q", "jobs", "-Q", "quick", "-c", "2")
    sqs.many("quick", range(40))
    worker.wait_ran("noop", 40)  # both executors take several of these at once from now on
    sqs.native("jobs", "gate", "open", "a")
    sqs.native("jobs", "gate", "open", "b")
    worker.wait_ran("gate", 2)
    sqs.many("quick", range(100, 160))
    began = time.monotonic()
    send(worker)
    worker.wait_log("stopping")
    worker.touch("open")
    assert worker.wait_exit() == 0, worker.log()
    assert time.monotonic() - began < 25
    assert worker.ran("gate a ends") == ["gate a ends"]
    assert worker.ran("gate b ends") == ["gate b ends"]
    sqs.wait_counts("jobs")
    ran = worker.ran("noop 1")
    assert len(ran) == len(set(ran))
    left = sqs.counts("quick")
    assert (left.hidden, left.delayed) == (0, 0)
    assert left.visible == 60 - len([note for note in ran if int(note.split()[1]) >= 100])


def test_a_task_that_is_longer_than_the_deadline_is_killed_and_released(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "nap", 60)
    worker = start_worker("-Q", "jobs", "-c", "1", "--shutdown-timeout", "2")
    worker.wait_ran("nap")
    pids = worker.everyone()
    assert 1.5 < worker.terminate() < 2 + 2 + LOADED
    assert not worker.ran("nap  ends")
    sqs.wait_counts("jobs", visible=1, timeout=1)
    assert len(pids) >= 3
    worker.wait_until(lambda: not worker.alive(pids), timeout=LOADED)


def test_a_task_that_was_acked_early_is_not_killed_at_the_deadline(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.celery("jobs", "early.nap", 3)
    worker = start_worker("-Q", "jobs", "-c", "1", "--shutdown-timeout", "0.5")
    worker.wait_ran("early nap begins")
    assert worker.terminate() < 5 + LOADED
    assert worker.ran("early nap ends")
    sqs.wait_counts("jobs")


def test_what_waits_behind_a_long_task_is_visible_after_sigterm(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(60))
    worker = start_worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("noop", 60)
    sqs.wait_counts("jobs")
    sqs.native("jobs", "gate", "open")
    sqs.many("jobs", range(100, 140))
    worker.wait_ran("gate")
    before = len(worker.ran("noop 1"))
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping")
    worker.touch("open")
    assert worker.wait_exit() == 0
    left = sqs.counts("jobs")
    assert left.hidden == 0
    assert left.visible + len([n for n in worker.ran("noop") if int(n.split()[1]) >= 100]) == 40
    assert len(worker.ran("noop 1")) >= before
    assert not worker.lines("ERROR|Traceback")


def test_a_message_that_comes_into_the_open_poll_is_released(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.native("jobs", "noop", 0)
    worker.wait_ran("noop 0")
    sqs.wait_counts("jobs")
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping")
    sent = time.monotonic()
    sqs.many("jobs", range(1, 31))  # ends every open poll
    assert worker.wait_exit() == 0
    assert time.monotonic() - sent < 4 + LOADED, "it leaves as soon as its polls have ended"
    sqs.wait_counts("jobs", visible=30, timeout=1)
    assert worker.ran() == ["noop 0"]


def test_ctrl_c_ends_an_idle_worker_within_a_second(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    sqs.native("jobs", "noop", 0)
    worker.wait_ran("noop 0")
    sqs.wait_counts("jobs")
    began = time.monotonic()
    os.killpg(worker.pid, signal.SIGINT)  # what a terminal does to its foreground group
    assert worker.wait_exit() == 0, worker.log()
    assert time.monotonic() - began < 1 + LOADED
    assert worker.lines("hidden for up to 120 s")
    assert not worker.lines("Traceback|KeyboardInterrupt")


def test_ctrl_c_lets_the_running_task_finish(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "gate", "open", "a")
    worker = start_worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("gate a begins")
    os.killpg(worker.pid, signal.SIGINT)
    worker.wait_log("stopping")
    worker.touch("open")
    assert worker.wait_exit() == 0
    assert worker.ran("gate a ends")
    sqs.wait_counts("jobs")


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)])
def test_a_second_signal_or_sigquit_ends_a_busy_worker_at_once(start_worker: Any, sqs: Any, signals: Any) -> None:
    sqs.create("jobs", "early")
    sqs.native("jobs", "nap", 60)
    sqs.celery("early", "early.nap", 60)
    worker = start_worker("-Q", "jobs", "-Q", "early", "-c", "2")
    worker.wait_ran("nap")
    worker.wait_ran("early nap begins")
    sqs.wait_counts("early")
    worker.send_signal(signals[0])
    if len(signals) > 1:
        worker.wait_log("stopping")
    began = time.monotonic()
    worker.send_signal(signals[-1])
    assert worker.wait_exit() == 1, worker.log()
    assert time.monotonic() - began < 2.5 + LOADED
    sqs.wait_counts("jobs", visible=1, timeout=1)
    sqs.wait_counts("early")
    assert worker.lines(r"(?=.*early\.nap\[id-of-early\.nap\])(?=.*(acked|lost))"), worker.log()


def test_a_second_signal_ends_an_idle_worker_that_waits_for_its_poll(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping")
    assert worker.terminate(code=1) < 2.5 + LOADED


def test_a_signal_while_it_starts_ends_it(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "noop", 1)
    (project.folder / "slow.py").write_text("import time, pathlib\npathlib.Path('loading').touch()\ntime.sleep(30)\n")
    worker = start_worker("-Q", "jobs", "-c", "1", "--include", "slow", ready=None)
    worker.wait_until((project.folder / "loading").exists)
    pids = worker.everyone()
    assert worker.terminate() < 8
    worker.wait_until(lambda: not worker.alive(pids), timeout=LOADED)
    sqs.wait_counts("jobs", visible=1, timeout=1)


@pytest.fixture
def terminal() -> Iterator[None]:
    """SIGHUP is what it is at a terminal, should this run itself be under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_that_closes_is_a_sigterm(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "gate", "open", "a")
    worker = start_worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("gate a begins")
    worker.send_signal(signal.SIGHUP)
    worker.wait_log("stopping")
    worker.touch("open")
    assert worker.wait_exit() == 0, worker.log()
    assert worker.ran("gate a ends") == ["gate a ends"]
    sqs.wait_counts("jobs")


def test_under_nohup_a_terminal_that_closes_is_nothing(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    command = [sys.executable, "-m", "pyqs", "worker", "--include", "tasks", "-Q", "jobs", "-c", "1"]
    worker = project._launch(["nohup", *command], "ready", {})
    worker.send_signal(signal.SIGHUP)
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    assert not worker.lines("stopping")
    assert worker.terminate(end_polls=sqs.store.end_polls) < 20 + LOADED


def test_sigterm_can_be_made_to_mean_sigquit(start_worker: Any, sqs: Any) -> None:
    """As with Celery: nothing is waited for, and what was acked early is named as lost."""
    sqs.create("jobs", "early")
    sqs.native("jobs", "nap", 60)
    sqs.celery("early", "early.nap", 60)
    worker = start_worker("-Q", "jobs,early", "-c", "2", env={"REMAP_SIGTERM": "SIGQUIT"})
    worker.wait_ran("nap")
    worker.wait_ran("early nap")
    assert worker.terminate(code=1) < 5 + LOADED
    sqs.wait_counts("jobs", visible=1, timeout=1)
    assert len(worker.lines("early.nap.* is lost")) == 1


def test_any_other_remapping_is_said_to_be_ignored(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", env={"REMAP_SIGTERM": "SIGUSR1"})
    assert len(worker.lines("REMAP_SIGTERM='SIGUSR1' is ignored")) == 1
    worker.terminate(signal.SIGINT)


def while_settings_are_read(start_worker: Any, project: Any) -> tuple[Any, int]:
    """A worker whose app hangs while its settings are read, and the pid of the process that reads them."""
    (project.folder / "slowapp.py").write_text(
        "import os, pathlib, time\npathlib.Path('loading').write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    worker = start_worker("-A", "slowapp", "-Q", "jobs", "-c", "1", ready=None)
    pid = worker.wait_until(lambda: (project.folder / "loading").exists() and (project.folder / "loading").read_text())
    return worker, int(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_while_an_apps_settings_are_read(start_worker: Any, sqs: Any, project: Any, number: int) -> None:
    sqs.create("jobs")
    worker, reader = while_settings_are_read(start_worker, project)
    worker.terminate(number)
    assert len(worker.lines(rf"told to stop \({signal.Signals(number).name}\) before the worker was there")) == 1
    assert not worker.lines("Traceback|stopping")
    assert not worker.alive([reader])


def test_what_reads_an_apps_settings_ends_with_the_worker(start_worker: Any, sqs: Any, project: Any) -> None:
    worker, reader = while_settings_are_read(start_worker, project)
    worker.send_signal(signal.SIGKILL)
    worker.wait_exit()
    worker.wait_until(lambda: not worker.alive([reader]), timeout=10)
