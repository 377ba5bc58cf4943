"""When an executor has served long enough."""

from __future__ import annotations

import mmap

import pytest

from pyqs.config import RuntimeConfig
from pyqs.errors import ConfigError
from pyqs.executor.retirement import MEASURES_NOW, Retirement, memory_in_use


class Memory:
    kib = 1000

    def __call__(self) -> int:
        return self.kib


def test_without_limits_it_serves_for_ever() -> None:
    retirement = Retirement(RuntimeConfig())
    for _ in range(10_000):
        retirement.task_began()
    assert retirement.due() is None


def test_it_leaves_after_its_last_task() -> None:
    retirement = Retirement(RuntimeConfig(max_tasks_per_child=2))
    assert retirement.due() is None
    retirement.task_began()
    assert retirement.due() is None
    retirement.task_began()
    assert retirement.due() == "it has run 2 tasks (--max-tasks-per-child 2)"


def test_it_leaves_when_it_uses_too_much_after_a_task() -> None:
    memory = Memory()
    retirement = Retirement(RuntimeConfig(max_memory_per_child=2000), memory)
    memory.kib = 2001
    assert retirement.due() is None, "a replacement would be no better"
    memory.kib = 2000
    retirement.task_began()
    assert retirement.due() is None
    memory.kib = 2001
    assert "2001 KiB (--max-memory-per-child 2000; 1000 KiB before its first task, 1 tasks since)" in (retirement.due() or "")
    memory.kib = 1500
    assert retirement.due() is None, "what was given back counts no more"


def test_a_limit_below_what_a_fresh_one_uses_is_refused_with_the_figures() -> None:
    with pytest.raises(ConfigError, match=r"999 KiB, but an executor uses 1000 KiB before its first task"):
        Retirement(RuntimeConfig(max_memory_per_child=999), Memory())
    Retirement(RuntimeConfig(max_memory_per_child=1000), Memory())


@pytest.mark.parametrize("name", ["max_tasks_per_child", "max_memory_per_child"])
def test_nothing_below_one_is_taken(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} must be at least 1, not 0"):
        RuntimeConfig(**{name: 0})


@pytest.mark.skipif(not MEASURES_NOW, reason="needs /proc")
def test_memory_in_use_is_in_kib_and_falls_again() -> None:
    before = memory_in_use()
    size = 64 * 1024 * 1024
    with mmap.mmap(-1, size) as block:
        block.write(b"x" * size)
        during = memory_in_use()
    assert 60_000 < during - before < 80_000
    assert memory_in_use() < during - 50_000
