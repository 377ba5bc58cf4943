"""Frames on the pipe between the worker and one executor, or the host.

Owns: the frame types, their encoding (4-byte big-endian length, then JSON: primitives only, nothing that could run code in the
reader; a delivery's body comes behind it as it is) and the incremental ``FrameReader``. Pure; used by the pool thread in the
worker and by both threads of an executor. Never does I/O. Every frame about a delivery names it by its id.

::

    worker -> executor    Run  Recall  Stop  Admitted | Postponed
    executor -> worker    Ready | NotReady, then MayStart  HandedBack  Started (or ``StartNote``)  Done | Cancelled  Leaving
    worker -> host        Killed  Event  Line  Stop
    host -> worker        Ready | NotReady, then one Done for each Killed, and Written for each few Lines
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from json.scanner import make_scanner
from typing import Any

from pyqs.message import EMPTY, CalledOff, Death, Delivery, FollowUp, ReceivedMessage, Verdict
from pyqs.primitives import (
    attributes_in,
    delivery_in,
    delivery_out,
    follow_up_in,
    follow_up_out,
    maybe_verdict_out,
    number,
    verdict_in,
    verdict_out,
)
from pyqs.value import value

_LENGTH = struct.Struct(">I")
_HEAD = _LENGTH.size
#: A frame larger than this is a broken stream, not a message (SQS bodies are at most 1 MiB; JSON escapes up to 6x).
MAX_FRAME = 64 * 1024 * 1024


@value
class Run:
    """Run this delivery, unless ``start_before`` (boot-time clock) has passed: then hand it back unstarted."""

    delivery: Delivery
    start_before: float


@dataclass(frozen=True, slots=True)
class Recall:
    """The worker has begun to stop: hand back every delivery that has not started. What is sent after this still runs."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the running delivery, hand back the rest, exit."""


@dataclass(frozen=True, slots=True)
class Killed:
    """To the host: this delivery's task began and its executor is dead. Answered with Done: verdict and follow-ups."""

    delivery: Delivery
    death: Death


@dataclass(frozen=True, slots=True)
class Event:
    """To the host: something has happened to the worker (``runtime.EVENTS``). Not answered."""

    name: str
    details: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallOff:
    """From the host to the worker, and from there to every executor: these calls must not start, or not go on.

    The host's first one says what was called off before, and may be empty: until then nothing starts.
    """

    calls: tuple[CalledOff, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """To the host: a line of the worker's own log, as the attributes of a ``LogRecord``; ``created_us`` is microseconds."""

    details: Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Written:
    """From the host: so many more lines are with the app's handlers."""

    count: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The executor has loaded its tasks.

    Parameters:
        pid: the executor.
        forkserver_pid: the process it was forked from (its parent).
        tasks: registered task names.
        at_most_once: how many of them are acked before they run.
        notes: lines the worker should log once (for example "the import left 2 threads running").
        preloaded: whether the app came with the fork.
        watches: the host will say which calls were called off.
    """

    pid: int
    forkserver_pid: int
    tasks: tuple[str, ...]
    at_most_once: int
    notes: tuple[str, ...] = ()
    preloaded: bool = False
    watches: bool = False


@dataclass(frozen=True, slots=True)
class NotReady:
    """Boot failed for good (``retry_without_preload`` False), or only because preloading left threads running."""

    reason: str
    details: str
    forkserver_pid: int = 0
    retry_without_preload: bool = False


@value
class Started:
    """The delivery is about to run: what the worker must know without decoding the body.

    Limits are seconds from ``at`` (boot-time clock, 0 for now) or None; ``ack_early`` asks for the delete at once.
    ``if_killed`` is the verdict should the executor be killed at the hard limit, or die by itself; None has the
    worker hide the message for a growing time. With ``tells`` the host is asked for it, because somebody is to hear of it.
    """

    delivery_id: int
    task: str
    call_id: str
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ack_early: bool = False
    if_killed: Verdict | None = None
    tells: bool = False
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class MayStart:
    """Asks for a token of the bucket ``rate_key``, which gains ``per_second``: its task is about to start and has a limit."""

    delivery_id: int
    rate_key: str
    per_second: float


@dataclass(frozen=True, slots=True)
class Admitted:
    """The delivery may start in ``wait`` seconds."""

    delivery_id: int
    wait: float


@dataclass(frozen=True, slots=True)
class Postponed:
    """The delivery is over the limit of its task: it may ask again in ``delay`` seconds."""

    delivery_id: int
    delay: int


@dataclass(frozen=True, slots=True)
class HandedBack:
    """These deliveries have not been started and will not be: the worker may run them elsewhere or release them."""

    delivery_ids: tuple[int, ...]


@value
class Done:
    """A delivery has ended: its verdict, what must be sent first, and what to log.

    ``status`` is one of ``runtime.STATUSES``; ``reason`` is one line without arguments
    or bodies; ``seconds`` is the run time, None if its task has not started.
    """

    delivery_id: int
    verdict: Verdict
    follow_ups: tuple[FollowUp, ...] = ()
    status: str = ""
    task: str = ""
    call_id: str = ""
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Of several tasks this one was ended, at its hard limit or as it was called off; settle it as if by a kill of its own."""

    delivery_id: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """The executor has served long enough: nothing starts there any more, and it ends when it is told to stop."""

    reason: str


Frame = (
    Run | Recall | Stop | Killed | Event | CallOff | Line | Written | Ready | NotReady | MayStart | Admitted | Postponed
    | Started | HandedBack | Done | Cancelled | Leaving
)  # fmt: skip


def _writer() -> Callable[[object], str]:
    """JSON without escapes, and without the search for circles that no frame has: written in a third of the time (profiled).

    ``JSONEncoder.encode`` makes its encoder in C anew for each frame, which costs as much as a small frame: made once here.
    """
    encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # a Python without the C part
        return encoder.encode
    write = make(None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True)
    return lambda raw: "".join(write(raw, 0))


_write = _writer()
#: What ``raw_decode`` calls: the value and where it ends, or StopIteration.
_scan = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
#: Between a frame and the body that belongs to it, which is not escaped: JSON has no such character.
_BODY = "\0"


def encode(frame: Frame) -> bytes:
    """The frame with its length in front.

    Raises:
        TypeError: something in it is no primitive.
        ValueError: it is larger than the reader takes, or has no end.
    """
    try:
        text = _write(_WRITERS[type(frame)](frame))
        if type(frame) is Run or type(frame) is Killed:
            text = f"{text}{_BODY}{frame.delivery.message.body}"
        payload = text.encode("utf-8", "surrogatepass")
    except RecursionError:
        raise ValueError("a frame that holds itself") from None
    if len(payload) > MAX_FRAME:
        raise ValueError(f"frame of {len(payload)} bytes")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Collects bytes as they come and yields whole frames.

    Raises ``ValueError`` on a stream that is not ours; the caller treats that as a dead peer.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        #: Bytes without which there is no whole frame.
        self._needed = _HEAD

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes; yield every frame that is complete."""
        if self._waiting:  # else they are not copied: most often whole frames come
            self._waiting += data
            if len(self._waiting) < self._needed:
                return
            data = bytes(self._waiting)
        at, size = 0, len(data)
        try:
            while size - at >= _HEAD:
                (length,) = _LENGTH.unpack_from(data, at)
                if length > MAX_FRAME:
                    raise ValueError(f"frame of {length} bytes")
                begin = at + _HEAD
                end = begin + length
                if end > size:
                    self._needed = end - at
                    return
                at, self._needed = end, _HEAD
                yield _frame(data[begin:end])
        finally:
            self._waiting = bytearray(data[at:])


def _frame(payload: bytes) -> Frame:
    try:
        text = payload.decode("utf-8", "surrogatepass")
        raw, end = _scan(text, 0)
        if end != len(text):
            if text[end] != _BODY:
                raise ValueError("a frame with more behind it")
            raw.append(text[end + 1 :])
        return _from_primitive(raw)
    except (StopIteration, TypeError, AttributeError, RecursionError, OverflowError) as exc:
        raise ValueError(f"what came is no frame: {type(exc).__name__}") from None


def _killed_out(frame: Killed) -> list[object]:
    death = frame.death
    return ["killed", death.how, death.limit, death.acked_early, death.signal, *delivery_out(frame.delivery)]


def _ready_out(frame: Ready) -> list[object]:
    tasks, notes = list(frame.tasks), list(frame.notes)
    return ["ready", frame.pid, frame.forkserver_pid, tasks, frame.at_most_once, notes, frame.preloaded, frame.watches]


def _started_out(frame: Started) -> list[object]:
    return [
        "started", frame.delivery_id, frame.task, frame.call_id, frame.time_limit, frame.soft_time_limit, frame.ack_early,
        maybe_verdict_out(frame.if_killed), frame.tells, frame.at,
    ]  # fmt: skip


def _done_out(frame: Done) -> list[object]:
    return [
        "done", frame.delivery_id, verdict_out(frame.verdict), [follow_up_out(f) for f in frame.follow_ups], frame.status,
        frame.task, frame.call_id, frame.reason, frame.seconds,
    ]  # fmt: skip


_WRITERS: Mapping[type, Callable[[Any], list[object]]] = {
    Run: lambda frame: ["run", frame.start_before, *delivery_out(frame.delivery)],
    Killed: _killed_out,
    Event: lambda frame: ["event", frame.name, dict(frame.details)],
    CallOff: lambda frame: ["call-off", [[one.call_id, one.until, one.signal] for one in frame.calls]],
    Line: lambda frame: ["line", dict(frame.details)],
    Written: lambda frame: ["written", frame.count],
    Recall: lambda _: ["recall"],
    Stop: lambda _: ["stop"],
    Ready: _ready_out,
    NotReady: lambda frame: ["not-ready", frame.reason, frame.details, frame.forkserver_pid, frame.retry_without_preload],
    Started: _started_out,
    MayStart: lambda frame: ["may-start", frame.delivery_id, frame.rate_key, frame.per_second],
    Admitted: lambda frame: ["admitted", frame.delivery_id, frame.wait],
    Postponed: lambda frame: ["postponed", frame.delivery_id, frame.delay],
    HandedBack: lambda frame: ["back", list(frame.delivery_ids)],
    Leaving: lambda frame: ["leaving", frame.reason],
    Cancelled: lambda frame: ["cancelled", frame.delivery_id],
    Done: _done_out,
}  # fmt: skip


def _from_primitive(raw: list[object]) -> Frame:
    kind, *rest = raw
    reader = _READERS.get(kind)  # type: ignore[call-overload]
    if reader is None:
        raise ValueError("a frame of an unknown kind")
    return reader(*rest)  # type: ignore[no-any-return]


def _read_run(
    start_before: float, id_: int, queue: str, url: str, received_at: float, fetched_at: float, visibility: int,
    message_id: str, handle: str, attributes: dict[str, str], message_attributes: dict[str, list[str | None]], body: str,
) -> Run:  # fmt: skip
    """As ``_delivery_in``, in one call: each message passes here."""
    typed = attributes_in(message_attributes) if message_attributes else EMPTY
    message = ReceivedMessage(message_id, handle, body, attributes, typed)
    return Run(Delivery(id_, queue, url, message, received_at, fetched_at, visibility), start_before)


def _read_killed(how: str, limit: float | None, acked_early: bool, signal: int, *delivery: Any) -> Killed:
    return Killed(delivery_in(*delivery), Death(how, limit, acked_early, signal))


def _read_ready(pid: int, forkserver_pid: int, tasks: list[str], at_most_once: int, notes: list[str], *flags: bool) -> Ready:
    return Ready(pid, forkserver_pid, tuple(tasks), at_most_once, tuple(notes), *flags)


def _read_call_off(calls: list[list[Any]]) -> CallOff:
    return CallOff(tuple(CalledOff(call_id, number(until), _check_words(signal, call_id)) for call_id, until, signal in calls))


def _read_done(
    delivery_id: int, verdict: list[object], follow_ups: list[list[object]], status: str, task: str, call_id: str,
    reason: str, seconds: float | None,
) -> Done:  # fmt: skip
    _check_words(delivery_id, status, task, call_id, reason)
    outbox = tuple(follow_up_in(*f) for f in follow_ups) if follow_ups else ()  # type: ignore[arg-type]
    ran = None if seconds is None else number(seconds)
    return Done(delivery_id, verdict_in(verdict), outbox, status, task, call_id, reason, ran)


def _read_started(
    delivery_id: int, task: str, call_id: str, time_limit: float | None, soft_time_limit: float | None, ack_early: bool,
    if_killed: list[object] | None, tells: bool, at: float,
) -> Started:  # fmt: skip
    _check_words(delivery_id, task, call_id)
    hard, soft = (None if limit is None else number(limit) for limit in (time_limit, soft_time_limit))
    verdict = None if if_killed is None else verdict_in(if_killed)
    return Started(delivery_id, task, call_id, hard, soft, ack_early, verdict, tells is True, number(at))


def _read_may_start(delivery_id: int, rate_key: str, per_second: float) -> MayStart:
    _check_words(delivery_id, rate_key)
    if number(per_second) <= 0:
        raise ValueError("a frame with a rate that admits nothing")
    return MayStart(delivery_id, rate_key, number(per_second))


def _read_leaving(reason: str) -> Leaving:
    _check_words(0, reason)
    return Leaving(reason)


_READERS: Mapping[str, object] = {
    "run": _read_run,
    "recall": Recall,
    "stop": Stop,
    "killed": _read_killed,
    "event": Event,
    "call-off": _read_call_off,
    "line": Line,
    "written": lambda count: Written(_check_words(count)),
    "ready": _read_ready,
    "not-ready": NotReady,
    "started": _read_started,
    "back": lambda ids: HandedBack(tuple(map(_check_words, ids))),
    "done": _read_done,
    "leaving": _read_leaving,
    "cancelled": lambda delivery_id: Cancelled(_check_words(delivery_id)),
    "may-start": _read_may_start,
    "admitted": Admitted,
    "postponed": Postponed,
}


_TEXT = frozenset({str})


def _check_words(delivery_id: int, *words: str) -> int:
    """What the worker keys its tables with and logs; a frame is an executor's word, and a task has run in there."""
    if type(delivery_id) is not int or {*map(type, words)} - _TEXT:
        raise ValueError("a frame with a part of the wrong kind")
    return delivery_id
