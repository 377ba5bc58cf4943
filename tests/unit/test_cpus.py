"""How many executors there are unless somebody says: the processors that this process may use, its CPU quota included."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyqs.commands import cpus


def quota(tmp_path: Path, own: str, **files: str) -> float | None:
    (tmp_path / "own").write_text(own)
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return cpus.cpu_quota(root, tmp_path / "own")


def test_a_container(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/\n", cpu_max="150000 100000") == 1.5


def test_a_unit_of_systemd_below_a_slice_with_less(tmp_path: Path) -> None:
    files = {"cpu_max": "max 100000", "a__cpu_max": "50000 100000", "a__b__cpu_max": "200000 100000"}
    assert quota(tmp_path, "0::/a/b\n", **files) == 0.5


def test_version_1(tmp_path: Path) -> None:
    files = {"cpu__cpu_cfs_quota_us": "200000", "cpu__cpu_cfs_period_us": "100000"}
    assert quota(tmp_path, "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n", **files) == 2.0


@pytest.mark.parametrize("text", ["max 100000", "", "x y", "1 0", "1"])
def test_none(tmp_path: Path, text: str) -> None:
    assert quota(tmp_path, "0::/\n", cpu_max=text) is None


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    files = {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}
    assert quota(tmp_path, "4:cpu,cpuacct:/\n", **files) is None


def test_no_linux(tmp_path: Path) -> None:
    assert cpus.cpu_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("found", "expected"), [(None, 4), (0.1, 1), (1.5, 2), (64.0, 4)])
def test_the_least_counts_and_a_part_is_a_whole(found: float | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: found)
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert cpus.available_cpus() == expected
