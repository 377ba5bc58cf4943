"""An executor's frames are its word only: whatever a task has put into them, the worker stays."""

from __future__ import annotations

import json
import struct

import pytest

from pyqs.wire import Done, FrameReader, Started, encode

HUGE = 10**400
GOOD_DONE = ["done", 1, ["delete"], [], "succeeded", "t", "i", "", 0.1]
GOOD_STARTED = ["started", 1, "t", "i", 1, None, False, None, False, 12.5]


def frame(parts: list[object]) -> bytes:
    payload = json.dumps(parts).encode()
    return struct.pack(">I", len(payload)) + payload


def changed(parts: list[object], index: int, value: object) -> list[object]:
    return [*parts[:index], value, *parts[index + 1 :]]


@pytest.mark.parametrize(
    "parts",
    [
        changed(GOOD_STARTED, 4, HUGE),
        changed(GOOD_STARTED, 4, float("nan")),
        changed(GOOD_STARTED, 4, "10"),
        changed(GOOD_STARTED, 1, [1]),
        changed(GOOD_STARTED, 3, None),
        changed(GOOD_STARTED, 9, float("inf")),
        changed(GOOD_STARTED, 9, None),
        changed(GOOD_DONE, 1, {}),
        changed(GOOD_DONE, 2, ["hide", HUGE]),
        changed(GOOD_DONE, 2, ["hide", float("inf")]),
        changed(GOOD_DONE, 4, ["succeeded"]),
        changed(GOOD_DONE, 8, float("nan")),
        ["back", [[1]]],
    ],
)
def test_a_frame_that_the_worker_cannot_count_with_is_a_value_error(parts: list[object]) -> None:
    with pytest.raises(ValueError, match=r"frame|verdict"):
        list(FrameReader().feed(frame(parts)))


def test_the_frames_that_these_were_made_from_are_read() -> None:
    started, done = [*FrameReader().feed(frame(GOOD_STARTED) + frame(GOOD_DONE))]
    assert isinstance(started, Started)
    assert isinstance(done, Done)
    assert list(FrameReader().feed(encode(started) + encode(done))) == [started, done]
