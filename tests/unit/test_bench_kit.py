"""The benchmarks' own arithmetic: what they say of rounds, and what they read in ``/proc``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from kit import procfs
from kit.rounds import percentile, ratios, spread, turns
from kit.tables import Column, latest, table


def test_each_round_has_every_peer_once_and_begins_with_another() -> None:
    assert [[peer for number, peer in turns("abc", 3) if number == each] for each in range(3)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_a_ratio_is_of_figures_of_one_round() -> None:
    found = ratios({0: 10.0, 1: 40.0, 2: 9.0}, {0: 5.0, 1: 10.0})
    assert found is not None
    assert (found.median, found.low, found.high, found.count) == (3.0, 2.0, 4.0, 2)
    assert ratios({0: 1.0}, {1: 1.0}) is None


def test_a_spread_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no figures"):
        spread([])
    assert spread([3.0, 1.0, 2.0]).text() == "2.00 (1.00-3.00)"


def test_a_percentile_is_one_of_the_figures() -> None:
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert percentile([7.0], 0.95) == 7.0


def test_a_name_with_brackets_does_not_move_the_fields() -> None:
    text = "12 (a) b) S 1 12 12 0 -1 0 0 0 0 0 " + "100 50 25 25 " + "20 0 1 0"
    assert procfs.stat_fields(text)[:2] == ["S", "1"]
    assert procfs.cpu_of(text) == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's /proc")
def test_a_tree_has_its_grandchildren_and_their_cpu_and_memory() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('x', flush=True)\ntime.sleep(60)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(procfs.tree(process.pid)) == 2
        assert procfs.cpu_seconds(process.pid) >= 0.25
        assert procfs.memory(process.pid).pss > 1.0
    finally:
        procfs.kill_tree(process.pid)
        process.wait()
    assert not procfs.is_alive(process.pid)


def line(run: str, peer: str, number: int, rate: float) -> dict[str, Any]:
    return {"run": run, "bench": "drain", "case": "noop", "site": "x 0 ms", "peer": peer, "round": number, "rate": rate}


def test_a_table_is_of_the_last_run() -> None:
    old, new = time.strftime("%Y", time.gmtime(0)), "2026"
    lines = [line(old, "pyqs", 0, 1.0), line(new, "other", 0, 50.0), line(new, "pyqs", 0, 100.0), line(new, "pyqs", 1, 300.0)]
    groups = latest(lines)
    text = table(groups["drain", "noop", "x 0 ms"], (Column("rate", "tasks/s", ratio=True),))
    assert text.splitlines()[2:] == ["| pyqs | 200 (100-300) |  |", "| other | 50 | 2.00 |"]
