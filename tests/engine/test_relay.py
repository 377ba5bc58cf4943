"""The worker's own log lines on their way to the host: taken, refused, or given back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from pyqs import logs
from pyqs.wire import Event, FrameReader, encode
from pyqs.worker.host import Host
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
    taken: list[tuple[Event, Callable[[], None]]] = []

    def take(line: Event, written: Callable[[], None]) -> bool:
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
    taken: list[Event] = []
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
    assert not host.log(Event("line", {"msg": "x"}), lambda: None)
