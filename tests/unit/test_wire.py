"""Frames come out as they went in, however the bytes are cut; anything else is a ValueError and no memory is spent on it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyqs.message import (
    CalledOff,
    DeadLetter,
    Death,
    Delete,
    Delivery,
    Drop,
    FollowUp,
    Hide,
    Leave,
    MessageAttribute,
    OutgoingMessage,
    ReceivedMessage,
    Resend,
)
from pyqs.runtime import STATUSES
from pyqs.wire import (
    MAX_FRAME,
    Admitted,
    CallOff,
    Cancelled,
    Done,
    Event,
    Frame,
    FrameReader,
    HandedBack,
    Killed,
    Leaving,
    Line,
    MayStart,
    NotReady,
    Postponed,
    Ready,
    Recall,
    Run,
    Started,
    Stop,
    Written,
    encode,
)

texts = st.text(max_size=30)
numbers = st.integers(0, 2**53)
seconds = st.floats(0, 1e9, allow_nan=False)
flags = st.booleans()
attributes = st.dictionaries(
    texts,
    st.builds(MessageAttribute, texts, texts, st.none())
    | st.builds(MessageAttribute, texts, st.none(), st.binary(max_size=20)),
    max_size=3,
)
received = st.builds(
    ReceivedMessage, texts, texts, st.text(max_size=200), st.dictionaries(texts, texts, max_size=3), attributes
)
deliveries = st.builds(Delivery, numbers, texts, texts, received, seconds, seconds, numbers)
outgoing = st.builds(
    OutgoingMessage, texts, st.none() | st.integers(0, 900), attributes, st.none() | texts, st.none() | texts, st.none() | texts
)
verdicts = (
    st.builds(Delete)
    | st.builds(Leave)
    | st.builds(Hide, st.floats(0, 43200))
    | st.builds(Resend, st.integers(0, 900), st.none() | st.floats(0, 1e9))
    | st.builds(DeadLetter, texts, st.floats(0, 43200))
    | st.builds(Drop, st.floats(0, 43200))
)
follow_ups = st.lists(st.builds(FollowUp, texts, outgoing, flags), max_size=3).map(tuple)
names = st.lists(texts, max_size=4).map(tuple)
limits = st.none() | seconds
frames = (
    st.builds(Run, deliveries, seconds)
    | st.builds(Recall)
    | st.builds(Stop)
    | st.builds(Ready, numbers, numbers, names, numbers, names, flags, flags)
    | st.builds(NotReady, texts, texts, numbers, flags)
    | st.builds(Started, numbers, texts, texts, limits, limits, flags, st.none() | verdicts, flags)
    | st.builds(Leaving, texts)
    | st.builds(Cancelled, numbers)
    | st.builds(MayStart, numbers, texts, st.floats(0.001, 1e6))
    | st.builds(Admitted, numbers, seconds)
    | st.builds(Postponed, numbers, st.integers(0, 900))
    | st.builds(Killed, deliveries, st.builds(Death, texts, limits, flags, numbers))
    | st.builds(Event, texts, st.dictionaries(texts, texts | numbers, max_size=3))
    | st.builds(CallOff, st.lists(st.builds(CalledOff, texts, seconds, numbers), max_size=3).map(tuple))
    | st.builds(Line, st.dictionaries(texts, texts | numbers, max_size=3))
    | st.builds(Written, numbers)
    | st.builds(HandedBack, st.lists(numbers, max_size=5).map(tuple))
    | st.builds(Done, numbers, verdicts, follow_ups, st.sampled_from(STATUSES), texts, texts, texts, seconds)
)


@given(st.lists(frames, max_size=5), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = FrameReader()
    came = [
        frame for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for frame in reader.feed(stream[begin:end])
    ]
    assert came == sent


@given(st.binary(max_size=200))
def test_random_bytes_are_frames_or_a_value_error(data: bytes) -> None:
    try:
        came = list(FrameReader().feed(data))
    except ValueError:
        return
    assert came == []


json_values = st.recursive(
    st.none() | flags | st.integers() | st.floats() | texts,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(texts, x, max_size=3),
)
kinds = st.sampled_from(["run", "recall", "stop", "ready", "not-ready", "started", "back", "done", "other"])


@settings(max_examples=300)
@given(json_values | st.tuples(kinds, st.lists(json_values, max_size=14)).map(lambda pair: [pair[0], *pair[1]]))
def test_any_json_is_a_frame_or_a_value_error(value: object) -> None:
    payload = json.dumps(value).encode()
    try:
        list(FrameReader().feed(struct.pack(">I", len(payload)) + payload))
    except ValueError:
        pass


def test_a_body_nested_without_end_is_a_value_error() -> None:
    payload = b"[" * 100_000
    with pytest.raises(ValueError):
        list(FrameReader().feed(struct.pack(">I", len(payload)) + payload))


def test_a_length_beyond_every_message_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(ValueError, match=str(MAX_FRAME + 1)):
        list(FrameReader().feed(struct.pack(">I", MAX_FRAME + 1)))


def test_the_largest_body_fits_whatever_its_letters_are() -> None:
    body = "\u20ac" * (1024 * 1024 // 3)  # 1 MiB as UTF-8, each letter six bytes as JSON
    delivery = Delivery(1, "q", "u", ReceivedMessage("m", "h", body), 0.0, 0.0, 30)
    assert [frame.delivery.message.body for frame in _feed(encode(Run(delivery, 1.0)))] == [body]


def test_what_python_keeps_and_sqs_may_send_survives() -> None:
    body = "\ud800 \x00 \u2028 \U0001f600"
    delivery = Delivery(1, "q", "u", ReceivedMessage("m", "h", body), 0.0, 0.0, 30)
    (frame,) = _feed(encode(Run(delivery, math.inf)))
    assert frame.delivery.message.body == body
    assert frame.start_before == math.inf


def test_frames_are_primitives_only() -> None:
    with pytest.raises(TypeError):
        encode(NotReady(object(), ""))  # type: ignore[arg-type]


def _feed(data: bytes) -> Iterator[Run]:
    for frame in FrameReader().feed(data):
        assert isinstance(frame, Run)
        yield frame
