"""The worker's own log lines on their way to the host: taken, refused, or given back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from pyqs import logs
from pyqs.wire import FrameReader, Line, encode
from pyqs.worker import lines as lines_module
from pyqs.worker.host import Host
from pyqs.worker.lines import Lines
from pyqs.worker.relay import Relay


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """pyqs's own handler, as ``configure`` has made it."""
    handler = Kept()
    monkeypatch.setattr(logs, "_own", handler)
    monkeypatch.setattr(logs, "_secrets", ("s3cr3t-s3cr3t",))
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    for one in list(root.handlers):
        if one is handler or isinstance(one, Relay):
            root.removeHandler(one)


def test_what_the_host_takes_is_not_written_here(own: Kept) -> None:
    taken: list[tuple[Line, Callable[[], None]]] = []

    def take(line: Line, written: Callable[[], None]) -> bool:
        taken.append((line, written))
        return True

    relay = Relay(take)
    relay.begin()
    logging.getLogger("pyqs.worker.x").warning("it is %s, with %s", "so", "s3cr3t-s3cr3t")
    (line, give_back), *_ = taken
    assert (line.details["name"], line.details["msg"]) == ("pyqs.worker.x", "it is so, with ***")
    assert list(FrameReader().feed(encode(line))) == [line], "it can be sent"
    assert own.texts == []
    give_back()
    assert own.texts == ["it is so, with ***"]
    relay.end()
    logging.getLogger("pyqs.worker.x").warning("later")
    assert own.texts[1:] == ["later"]
    assert len(taken) == 1


def test_what_it_refuses_is_written_as_before(own: Kept) -> None:
    relay = Relay(lambda line, written: False)
    relay.begin()
    logging.getLogger("pyqs.worker.x").warning("refused")
    assert own.texts == ["refused"]
    relay.end()


def test_a_traceback_goes_along(own: Kept) -> None:
    taken: list[Line] = []
    relay = Relay(lambda line, written: not taken.append(line))
    relay.begin()
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("pyqs.worker.x").exception("it failed")
    assert "KeyError: 'k'" in str(taken[0].details["exc_text"])
    relay.end()


def test_logging_of_others_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_own", None)
    before = list(logging.getLogger().handlers)
    relay = Relay(lambda line, written: True)
    relay.begin()
    assert logging.getLogger().handlers == before
    relay.end()


def test_a_host_that_does_not_run_takes_nothing() -> None:
    host = Host(None, lambda *_: None, at_start=True)  # type: ignore[arg-type]
    assert not host.log(Line({"msg": "x"}), lambda: None)


LINE = Line({"msg": "x"})


def test_what_the_host_does_not_write_in_time_is_given_back_and_no_more_is_taken_until_it_has_caught_up() -> None:
    now = [0.0]
    back: list[str] = []
    lines = Lines(taken=True, clock=lambda: now[0])
    lines.ready()
    for name in ("a", "b", "c"):
        assert lines.add(LINE, lambda name=name: back.append(name))  # type: ignore[misc]
    assert (lines.next(), lines.next()) == (LINE, LINE)
    lines.written(1)
    now[0] = lines_module.PATIENCE - 0.1
    lines.look(ready=True)
    assert back == []
    now[0] = lines_module.PATIENCE
    lines.look(ready=True)
    assert back == ["b", "c"], "one was sent, one was not"
    assert lines.due is None
    assert not lines.add(LINE, lambda: None)
    lines.written(1)
    assert lines.add(LINE, lambda: None)


def test_before_there_is_a_host_lines_wait_a_moment_and_after_it_has_gone_none_does() -> None:
    now = [0.0]
    back: list[str] = []
    lines = Lines(taken=True, clock=lambda: now[0])
    assert lines.add(LINE, lambda: back.append("early"))
    now[0] = lines_module.PATIENCE
    lines.look(ready=False)
    assert back == ["early"]
    assert not lines.add(LINE, lambda: None)
    lines.ready()
    assert lines.add(LINE, lambda: back.append("sent"))
    lines.next()
    assert lines.add(LINE, lambda: back.append("waiting"))
    lines.gone()
    assert back == ["early", "sent", "waiting"]
    assert not lines.add(LINE, lambda: None)
    assert not Lines(taken=False).add(LINE, lambda: None)


def test_a_log_that_nobody_writes_takes_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MOST", 2)
    lines = Lines(taken=True)
    assert [lines.add(LINE, lambda: None) for _ in range(3)] == [True, True, False]
