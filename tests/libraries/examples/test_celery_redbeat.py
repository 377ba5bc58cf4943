"""celery-redbeat 2.4.2 as the scheduler of two beats: its lock in Redis lets one of them send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from processes import wait_until

SCHEDULER = "redbeat.RedBeatScheduler"


def test_one_of_two_beats_sends_and_the_other_takes_over(tmp_path: Path, redis_url: str, work: Any, beat: Any) -> None:
    out = tmp_path / "ran.txt"
    out.touch()
    env = {"EXAMPLE_REDIS": redis_url.replace("redis+socket://", "unix://"), "EXAMPLE_OUT": str(out)}
    work("redbeaten", **env)
    first = beat("redbeaten", SCHEDULER, **env)
    wait_until(lambda: len(out.read_text().splitlines()) >= 2)
    second = beat("redbeaten", SCHEDULER, **env)
    wait_until(lambda: len(out.read_text().splitlines()) >= 5)
    assert "Sending due task" not in second.log.read_text()
    first.process.terminate()
    assert first.process.wait(20) == 0
    count = len(out.read_text().splitlines())
    wait_until(lambda: len(out.read_text().splitlines()) >= count + 2)
    lines = out.read_text().splitlines()
    assert len(set(lines)) == len(lines)
