"""A beat that is killed at any moment, while it writes, too: its file can be read, and nothing in it goes back."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from pyqs_celery_compat import schedule_file

KILLS = 12
BEAT = """
import sys
from pyqs_celery_compat import Celery, beat, persistent_scheduling
persistent_scheduling._PAUSE = 0.0  # it writes all the time
app = Celery("x", broker="sqs://")
app.conf.beat_schedule = {f"e{n}": {"task": "t", "schedule": 0.01, "args": ("x" * 50,)} for n in range(40)}
class Scheduler(beat.PersistentScheduler):
    producer = None
    def send_task(self, *args, **kwargs): ...
scheduler = Scheduler(app, schedule_filename=sys.argv[1])
print(sum(entry.total_run_count for entry in scheduler.schedule.values()), flush=True)
while True:
    scheduler.tick()
    scheduler.rest()
"""


def test_the_file_survives(tmp_path: Path) -> None:
    path = str(tmp_path / "schedule")
    chance, seen = random.Random(7), [0]
    for _ in range(KILLS):
        beat = subprocess.Popen(
            [sys.executable, "-c", BEAT, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert beat.stdout is not None
        assert beat.stderr is not None
        seen.append(int(beat.stdout.readline()))
        time.sleep(chance.uniform(0.01, 0.3))
        beat.kill()
        assert "cannot be read" not in beat.stderr.read()
        beat.communicate()
    assert seen == sorted(seen)
    shelf = schedule_file.open(path)
    assert sum(entry.total_run_count for entry in shelf["entries"].values()) > 0
    shelf.close()
    assert not list(tmp_path.glob("*unreadable*"))
