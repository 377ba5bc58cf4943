"""A Flask app with tasks. ``celery_init_app`` is the pattern of Flask's documentation, unchanged; the first two statements are
what moving from Celery adds."""

import os
from typing import Any

from pyqs_celery_compat import install_as_celery

install_as_celery()

from celery import Celery, Task, shared_task  # noqa: E402
from flask import Flask, current_app  # noqa: E402


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


@shared_task(ignore_result=False)
def add_together(a: int, b: int) -> int:
    with open(current_app.config["LEDGER"], "a", encoding="utf-8") as ledger:
        ledger.write(f"{a + b}\n")
    return a + b


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        LEDGER=os.environ.get("LEDGER", "ledger.txt"),
        CELERY={"broker_url": "sqs://", "task_ignore_result": True, "task_default_queue": "flask"},
    )
    celery_init_app(app)

    @app.get("/add")
    def add() -> dict[str, Any]:
        return {"result_id": add_together.delay(23, 42).id}

    return app
