"""The demo's counting: it must be unable to say that all is well when it is not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pyqs.demo import report, scenario
from pyqs.demo.run import Outcome, environment


def written() -> list[scenario.Written]:
    return [
        scenario.Written("Celery", "email", ("a",), "case a"),
        scenario.Written("Celery", "email", ("b", "b-next"), "a chain"),
        scenario.Written("by hand", "email", (), "poison", message_id="m-1"),
    ]


def good() -> Outcome:
    return Outcome(written(), ["a", "b", "b-next"], {"email": 1}, "undecodable", 0, 1.5, "log")


def test_the_recorded_messages_are_what_the_readme_promises() -> None:
    messages = scenario.recorded()
    writers = {one.writer for one in messages}
    assert writers == {"Celery 5.7", "Celery 4.4", "Celery 3.1", "PyQS 1.0.1", scenario.FORGER}
    cases = " ".join(one.case for one in messages)
    for word in ("p1-json", "p1-pickle", "p2-json", "p2-pickle", "comp-gzip", "comp-bzip2", "chain3", "nob64"):
        assert word in cases
    assert [one.runs for one in messages if one.writer == scenario.FORGER] == [()]
    keys = [key for one in messages for key in one.runs]
    assert len(keys) == len(set(keys))


def test_the_application_is_shipped() -> None:
    assert set(scenario.project_files()) == {"email_tasks.py", "write.py"}


def test_all_well() -> None:
    assert good().problems() == []
    assert scenario.rows(written(), ["a", "b", "b-next"]) == [
        scenario.Row("email", "Celery", 2, 3, 0),
        scenario.Row("email", "by hand", 1, 0, 1),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ledger": ["a", "b"]}, "'b-next' ran 0 times"),
        ({"ledger": ["a", "a", "b", "b-next"]}, "'a' ran 2 times"),
        ({"ledger": ["a", "b", "b-next", "z"]}, "'z' ran and nobody wrote it"),
        ({"left": {"email": 0}}, "holds 0 messages instead of 1"),
        ({"left": {"email": 2}}, "holds 2 messages instead of 1"),
        ({"reason": ""}, "said nothing about the poison"),
        ({"exit_code": 1}, "exit code 1"),
        ({"exit_code": None}, "still running"),
    ],
)
def test_whatever_is_not_as_it_must_be_fails_the_demo(change: dict[str, object], said: str) -> None:
    outcome = good()
    for name, value in change.items():
        setattr(outcome, name, value)
    assert any(said in problem for problem in outcome.problems())
    screen = report.Screen(Console(file=io.StringIO(), width=140))
    assert screen.finish(outcome) == 1


def test_the_table_and_the_reason_are_shown() -> None:
    text = io.StringIO()
    assert report.Screen(Console(file=text)).finish(good()) == 0
    shown = text.getvalue()
    for word in ("Celery", "by hand", "undecodable", "later steps", "exactly once"):
        assert word in shown


def test_the_reason_is_the_log_line_about_the_message() -> None:
    log = "12:00 INFO pyqs.worker: started\n12:01 WARNING pyqs.worker: delivery 4 (email m-1): undecodable content\n"
    assert report.reason(log, "m-1") == "undecodable content"
    assert report.reason(log, "m-2") == ""
    assert report.reason(log, "") == ""


def test_nothing_of_the_users_settings_reaches_the_demo() -> None:
    env = environment("http://127.0.0.1:1", Path("/x"), {
        "PATH": "/bin", "AWS_PROFILE": "prod", "AWS_ACCESS_KEY_ID": "real", "PYQS_QUEUES": "prod", "CELERY_BROKER_URL": "redis://",
        "DJANGO_SETTINGS_MODULE": "prod.settings",
    })  # fmt: skip
    assert env["PATH"] == "/bin"
    assert env["PYQS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert env["CELERY_BROKER_URL"] == "sqs://"
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "PYQS_QUEUES", "DJANGO_SETTINGS_MODULE"} & set(env)
