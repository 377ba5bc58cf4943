"""The app of a Django project whose periodic tasks are in its database, as django-celery-beat's README has it."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["django_celery_beat"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["EXAMPLE_DB"]}},
        USE_TZ=True,
        SECRET_KEY="of a test",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    import django

    django.setup()

app = Celery("scheduled", broker="sqs://")
app.conf.task_default_queue = "scheduled"
app.conf.broker_transport_options = {"region": "us-east-1", "wait_time_seconds": 1}


@app.task(name="scheduled.note")
def note(what: str) -> None:
    """Leave a line."""
    with open(os.environ["EXAMPLE_OUT"], "a", encoding="utf-8") as out:
        out.write(f"{what} {note.request.id}\n")
