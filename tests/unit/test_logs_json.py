"""A log line as JSON: its fields, what is kept out of it, and what cannot break it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pyqs import log_fields, logs
from pyqs.message import Delivery, ReceivedMessage

SECRET = "wJalrXUtnFEMI/K7MDENG"

Write = Callable[..., dict[str, Any]]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Log a record as a process does that was told the secret, and read the line."""
    monkeypatch.setattr(logs, "_format", "json")
    monkeypatch.setattr(logs, "_secrets", (SECRET,))
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    logs.guard(handler)

    def write(name: str = "app", text: Any = "text", *args: Any, level: str = "info", **options: Any) -> dict[str, Any]:
        out.seek(0)
        out.truncate()
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            getattr(logger, level)(text, *args, **options)
        finally:
            logger.removeHandler(handler)
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
        (line,) = out.getvalue().splitlines()
        assert SECRET not in line
        found: dict[str, Any] = json.loads(line)
        return found

    yield write
    log_fields.end()


def test_the_fields_of_every_line(write: Write) -> None:
    import os

    line = write("app.orders", "%d of %s", 3, "them", level="warning")
    moment = datetime.fromisoformat(line.pop("time").replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - moment) < timedelta(seconds=60)
    assert line == {"level": "WARNING", "logger": "app.orders", "message": "3 of them", "pid": os.getpid()}


def test_what_the_process_works_on(write: Write) -> None:
    log_fields.begin("email", "id-of-the-message")
    assert write()["queue"] == "email"
    log_fields.name("tasks.send", "id-of-the-call")
    line = write()
    assert [line[name] for name in ("task", "task_id", "message_id", "queue")] == [
        "tasks.send", "id-of-the-call", "id-of-the-message", "email",
    ]  # fmt: skip
    log_fields.end()
    assert not {"task", "task_id", "message_id", "queue"} & write().keys()


def test_our_own_lines_say_which_delivery_and_which_queue(write: Write) -> None:
    delivery = Delivery(7, "email", "http://queue", ReceivedMessage("id-7", "handle", "body"), 0.0, 0.0, 120)
    line = write("pyqs.worker.acker", "%s stays: %s", delivery, "why")
    assert (line["queue"], line["message_id"]) == ("email", "id-7")
    assert write("pyqs.worker.discovery", "queue %s: consuming", "email")["queue"] == "email"
    assert "queue" not in write("app", "queue %s: consuming", "email"), "of others we know nothing"


def test_extra_is_kept_and_cannot_take_the_place_of_ours(write: Write) -> None:
    log_fields.begin("email", "id")
    extra = {"order": 5, "ratio": 0.5, "tags": ["a", None, True], "level": "mine", "queue": "theirs", "time": 1}
    line = write(extra=extra)
    assert [line[name] for name in ("order", "ratio", "tags", "queue")] == [5, 0.5, ["a", None, True], "theirs"]
    assert (line["level"], line["extra_level"], line["extra_time"]) == ("INFO", "mine", 1)


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (10**40, "1" + 40 * "0"),
        (b"raw", "b'raw'"),
        ({1: {2}}, {"1": "{2}"}),
        ((1, "two"), [1, "two"]),
        (Nameless(), "<Nameless that cannot be shown: RuntimeError>"),
        ("\ud800", "\ud800"),
    ],
)
def test_what_json_does_not_have_is_text(write: Write, value: Any, shown: Any) -> None:
    assert write(extra={"value": value})["value"] == shown


def test_what_holds_itself_ends(write: Write) -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "[" in json.dumps(write(extra={"loop": loop})["loop"])


def test_an_exception_is_a_field_of_its_own(write: Write) -> None:
    try:
        raise ValueError(f"with {SECRET} in it")
    except ValueError:
        line = write("app", "it failed", level="exception")
    assert line["message"] == "it failed"
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert line["exception"].splitlines()[-1] == "ValueError: with *** in it"


def test_secrets_are_in_no_part_of_a_line(write: Write) -> None:
    assert write("app", "key %s", SECRET)["message"] == "key ***"
    line = write(extra={"key": SECRET, SECRET: 1, "deep": [{"in": f"x{SECRET}"}]})
    assert (line["key"], line["***"], line["deep"]) == ("***", 1, [{"in": "x***"}])


def test_text_lines_keep_secrets_out_of_tracebacks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", (SECRET,))
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter(logs.FORMAT))
    logs.guard(handler)
    try:
        raise ValueError(SECRET)
    except ValueError:
        record = logging.LogRecord("app", logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())
    handler.handle(record)
    assert "ValueError: ***" in out.getvalue()
    assert SECRET not in out.getvalue()


def test_arguments_that_do_not_fit_are_said_in_the_line_and_raise_nothing(write: Write) -> None:
    assert write("app", "%d of them", "x")["message"].startswith("%d of them (its arguments do not fit: ")


def test_line_breaks_stay_inside(write: Write) -> None:
    assert write("app", "a\nb\u2028c", extra={"more": "d\ne"})["message"] == "a\nb\u2028c"


def test_celerys_trace_does_not_let_out_arguments(write: Write) -> None:
    assert "data" not in write("celery.app.trace", "Task %(name)s", {"name": "x"}, extra={"data": {"args": "(1,)"}})
    assert write("app", "text", extra={"data": 1})["data"] == 1


def test_warnings_and_what_nobody_has_set_up_are_lines_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import warnings

    monkeypatch.setattr(logs, "_format", "text")
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.choose("json")
    warnings.simplefilter("always")
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger("app").error("nobody listens")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", "app"]
    assert lines[0]["message"].endswith("DeprecationWarning: old")
