"""Canvases in canvases on every store: whatever is in a header counts once, fails once, and gets its arguments.

Each of these shapes is in Celery's own integration tests, which ``nox -s integration`` runs in a real worker.
"""

from __future__ import annotations

from typing import Any

import pytest

from one_worker import World
from pyqs_celery_compat import chain, chord, group
from pyqs_celery_compat.exceptions import ChordError


@pytest.fixture
def plus(world: World) -> Any:
    """A task that adds."""

    @world.app.task(name="plus", shared=False, acks_late=True)
    def plus(value: int, more: int, extra: int = 0) -> int:
        return value + more + extra

    return plus


def test_a_chain_that_ends_in_a_group_counts_that_groups_tasks(world: World, plus: Any) -> None:
    header = [world.part.s(1), chain(world.part.s(10), group(plus.s(1), plus.s(2)))]
    result = chord(header, world.body.s())
    result.apply_async()
    world.drain()
    assert [sorted(values, key=repr) for values in world.bodies] in ([[1, 11, 12]], [[1, [11, 12]]])


def test_a_chord_in_the_group_at_the_end_of_a_chain_in_a_header_counts(world: World, plus: Any) -> None:
    """Celery 5.7's worker waits for ever."""
    inner = chord([plus.s(1), plus.s(2)], world.body.s())
    chord([chain(world.part.s(10), group(plus.s(5), inner))], world.body.s()).apply_async()
    world.drain()
    assert world.bodies[0] == [11, 12]
    assert world.bodies[1:] in ([[15, 23]], [[[15, 23]]])


def test_what_fails_before_a_chord_in_a_header_fails_the_outer_chord(world: World) -> None:
    header = [world.part.s(1), chain(world.fails.si(), group(world.part.si(2), world.part.si(3)), world.body.s())]
    result = chord(header, world.body.s().on_error(world.heard.s())).apply_async()
    world.drain()
    assert world.bodies == []
    assert world.ran["errback"] == 1
    with pytest.raises((ValueError, ChordError)):
        result.get(timeout=1)


@pytest.mark.parametrize("header", [[], [chain()], [chain(), chain()]], ids=["nothing", "an empty chain", "two"])
def test_an_empty_header_gives_its_body_an_empty_list(world: World, header: Any) -> None:
    result = chord(header, world.body.s()).apply_async()
    world.drain()
    assert world.bodies == [[]]
    assert result.get(timeout=1) == 0


def test_an_empty_group_before_a_task_is_an_empty_header(world: World) -> None:
    (group() | world.body.s()).apply_async()
    world.drain()
    assert world.bodies == [[]]


def test_arguments_and_keywords_of_a_call_are_the_headers(world: World, plus: Any) -> None:
    chord([plus.s(1), plus.s(2)], world.body.s()).apply_async((10,), {"extra": 100})
    world.drain()
    assert world.bodies == [[111, 112]]


def test_a_group_of_one_chain_that_ends_in_a_group_is_that_groups_list(world: World, plus: Any) -> None:
    result = group(world.part.s(3) | group(plus.s(1), plus.s(2))).apply_async()
    world.drain()
    assert result.get(timeout=1) == [4, 5]


def test_tasks_that_are_no_signatures_are_made_some(world: World) -> None:
    chord([world.part.s(1)], chord([world.body, world.body], world.body.s())).apply_async()
    world.drain()
    assert world.bodies == [[1], [1], [1, 1]]


def test_whoever_waits_for_a_body_gets_what_its_header_raised(world: World) -> None:
    result = chord([world.part.s(1), world.fails.s()], world.body.s()).apply_async()
    world.drain()
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=1)
    with pytest.raises(ChordError):
        result.get(timeout=1, follow_parents=False)
    assert isinstance(result.result, ChordError)


def test_a_chord_in_a_body_that_is_a_group_has_its_errbacks_called(world: World) -> None:
    body = group(chord([world.part.si(2)], world.body.s()), world.body.s())
    chord([world.part.s(1), world.fails.s()], body).apply_async(link_error=world.heard.s())
    world.drain()
    assert world.ran["errback"] == 2


def test_a_chord_of_one_in_a_body_that_is_a_group_runs(world: World) -> None:
    body = group(chord([world.part.si(2)], world.body.s()), world.body.s())
    chord([world.part.s(1)], body).apply_async()
    world.drain()
    assert sorted(world.bodies) == [[1], [2]]


def test_a_generator_is_read_before_anything_is_sent(world: World) -> None:
    seen = []

    def header() -> Any:
        for number in range(3):
            seen.append(number)
            yield world.part.s(number)

    made = chord(header(), world.body.s())
    assert seen == [0, 1, 2]
    made.apply_async()
    world.drain()
    assert world.bodies == [[0, 1, 2]]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_body_that_is_a_chord_fails_with_the_header(world: World, depth: int) -> None:
    body = world.body.s()
    for _ in range(depth):
        body = chord([world.part.si(1), world.part.si(2)], body)
    result = chord([world.part.s(1), world.fails.s()], body).apply_async(link_error=world.heard.s())
    world.drain()
    assert world.bodies == []
    assert world.ran["errback"] == 1
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=1)


def test_a_chord_in_a_body_that_is_a_group_fails_with_the_header(world: World) -> None:
    body = group(chord([world.part.si(2)], world.body.s()), world.body.s())
    result = chord([world.part.s(1), world.fails.s()], body).apply_async()
    world.drain()
    assert world.bodies == []
    for member in result.results:
        with pytest.raises(ValueError, match="no"):
            member.get(timeout=1, follow_parents=False)
