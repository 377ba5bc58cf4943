"""What every scenario stands on: an app on the broker that it is given, and notes of what happens. For Celery and for us.

Each note is a line of JSON in the file of ``SCENARIO_NOTES``, with the process that wrote it. Imports nothing of ours: a
scenario says ``from celery import ...``, which is Celery in one run and the alias in the other.
"""

import json
import os

from celery import Celery

QUEUE = "scenario"
BROKER = os.environ["SCENARIO_BROKER"]


def note(what, **facts):
    """One thing that has happened."""
    line = json.dumps({"what": what, "pid": os.getpid(), **facts}, sort_keys=True, default=repr) + "\n"
    with open(os.environ["SCENARIO_NOTES"], "a", encoding="utf-8") as notes:
        notes.write(line)


def notes():
    """All that has happened so far."""
    with open(os.environ["SCENARIO_NOTES"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_app(**settings):
    """An app whose results go nowhere."""
    app = Celery("scenario", broker=BROKER, set_as_current=True)
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, broker_connection_retry_on_startup=True)
    if BROKER.startswith("sqs:"):
        app.conf.broker_transport_options = {"region": "us-east-1"}
    app.conf.update(settings)
    return app
