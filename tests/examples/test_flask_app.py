"""Flask's documented pattern: tasks run inside of the application's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("flask")

CALL = """
import json
from app import create_app
print(json.dumps(create_app().test_client().get("/add").get_json()))
"""


def test_a_page_calls_a_task_that_sees_the_apps_configuration(example: Callable[..., Any]) -> None:
    app = example("flask_app", "flask")
    assert app.answer(CALL)["result_id"]
    app.run("-m", "pyqs", "worker", "-A", "make_celery", "-Q", "flask", "--burst")
    assert (app.folder / "ledger.txt").read_text() == "65\n"
