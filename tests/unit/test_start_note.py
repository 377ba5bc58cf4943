"""The note of a start in shared memory: what one side writes the other reads, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyqs.message import Delete, Hide
from pyqs.start_note import SIZE, StartNote, memory
from pyqs.wire import Recall, Started, encode

Pair = tuple[StartNote, StartNote, int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both sides, and the descriptor of the memory."""
    fd = memory()
    notes = StartNote(fd), StartNote(fd)
    yield *notes, fd
    for note in notes:
        note.close()
    os.close(fd)


starts = st.builds(
    Started,
    st.integers(1, 2**63),
    st.text(max_size=60),
    st.text(max_size=40),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.booleans(),
    st.none() | st.builds(Delete) | st.builds(Hide, st.floats(0, 43200)),
    st.booleans(),
    st.floats(0, 1e9),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(starts, min_size=1, max_size=4))
def test_the_last_note_is_read_by_the_other_side(pair: Pair, frames: list[Started]) -> None:
    ours, theirs, _ = pair
    for frame in frames:
        assert ours.write(frame)
        assert theirs.read() == ours.read() == frame


def test_fresh_memory_holds_no_note(pair: Pair) -> None:
    assert pair[1].read() is None


def test_what_does_not_fit_is_refused_and_the_last_note_stands(pair: Pair) -> None:
    ours, theirs, _ = pair
    ours.write(Started(1, "tasks.a", "call"))
    assert not ours.write(Started(2, "t" * SIZE, "call"))
    assert theirs.read() == Started(1, "tasks.a", "call")
    longest = Started(3, "", "call")
    room = SIZE - 4 - len(encode(longest))
    assert ours.write(Started(3, "t" * room, "call"))
    assert theirs.read() == Started(3, "t" * room, "call")


def test_half_a_note_is_none(pair: Pair) -> None:
    """The executor is killed while it writes: what stands there is of two notes."""
    ours, theirs, fd = pair
    ours.write(Started(1, "tasks.first", "call"))
    before = os.pread(fd, SIZE, 0)
    ours.write(Started(2, "tasks.other", "call", ack_early=True))
    after = os.pread(fd, SIZE, 0)
    torn = 0
    for cut in range(1, SIZE):
        os.pwrite(fd, after[:cut] + before[cut:], 0)
        found = theirs.read()
        assert found in (None, Started(1, "tasks.first", "call"), Started(2, "tasks.other", "call", ack_early=True))
        torn += found is None
    assert torn > 50


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_task_has_written_there_is_no_note(pair: Pair, data: bytes) -> None:
    _, theirs, fd = pair
    os.pwrite(fd, data.ljust(SIZE, b"\0"), 0)
    assert theirs.read() is None


def test_another_frame_is_no_note(pair: Pair) -> None:
    from zlib import crc32

    _, theirs, fd = pair
    data = encode(Recall())
    os.pwrite(fd, crc32(data).to_bytes(4, "big") + data, 0)
    assert theirs.read() is None
