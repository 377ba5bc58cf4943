"""An app with a schedule, and what is in its schedule file: for our package, and for Celery (``INTEROP_PEER``).

``app`` is for a beat and a worker. Run as a program with the path of a schedule file, it opens it as a beat does, answers what
it remembers as JSON, and marks each entry as run once more at a moment of its own.
"""

import json
import os
import sys
from datetime import datetime, timedelta, timezone

from interop_tasks import app, write

if os.environ.get("INTEROP_PEER") == "celery":
    from celery import beat
    from celery.schedules import crontab, schedule
else:
    from pyqs_celery_compat import beat
    from pyqs_celery_compat.schedules import crontab, schedule

ENTRIES = {
    "often": {"task": "interop.tick", "schedule": 1.0, "args": ("often",)},
    "crontab": {
        "task": "interop.tick", "schedule": crontab(minute="*/5", hour="1-3,22", day_of_week="mon-fri", month_of_year="*/2"),
        "kwargs": {"what": "crontab"}, "options": {"queue": "interop.queue", "expires": 60},
    },
    "relative": {"task": "interop.tick", "schedule": schedule(timedelta(hours=7), relative=True)},
}  # fmt: skip


@app.task(name="interop.tick", bind=True)
def tick(self, what):
    headers = self.request.headers or {}
    write(f"{what} {self.request.id} {headers.get('celery_beat_task')}")


app.conf.beat_schedule = ENTRIES
app.conf.timezone = "Europe/Paris"


def main(path):
    scheduler = beat.PersistentScheduler(app, schedule_filename=path)
    found = {}
    for name, entry in sorted(scheduler.schedule.items()):
        found[name] = [entry.task, list(entry.args), entry.kwargs, entry.options, str(entry.schedule), entry.total_run_count]
        found[name].append(entry.last_run_at.astimezone(timezone.utc).isoformat() if entry.total_run_count else None)
        entry.last_run_at = datetime(2026, 1, 2, 3, 4, 5, entry.total_run_count, tzinfo=app.timezone)
        entry.total_run_count += 1
    scheduler.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
