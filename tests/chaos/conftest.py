"""What the chaos rows share: the watched SQS, a crew of workers, and a line of results.

A row asks for ``make_crew(face, ...)`` and for ``report``; the harness beside this file does the rest. All rows are
``slow``: the nox session ``chaos`` runs them, ``-- --short`` in the form for CI.
What judges them is itself tested in every run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.crew import Crew
from harness.faces import QUEUE, Face
from harness.report import SEED, SHORT, Report
from harness.watched import WatchedStore

HERE = Path(__file__).parent
#: Rows of the short form that take the longest, mostly waiting, the longest first.
LONGEST = (
    "test_fifo_with_deploys",
    "test_sqs_gone_packets_vanish",
    "test_soak",
    "test_sqs_gone_connections_refused",
    "test_sqs_stalls",
    "test_a_name_that_does_not_resolve",
    "test_chords_while_executors_die",
    "test_a_proxy_answers_403",
    "test_chords_of_early_acked_tasks_while_executors_die",
    "test_an_expired_token_that_cannot_be_renewed",
    "test_sqs_denies_everything",
    "test_connection_resets",
    "test_a_fifth_of_all_calls_fails",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rows = [item for item in items if HERE in item.path.parents and "report" in getattr(item, "fixturenames", ())]
    for item in rows:
        item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))
    if SHORT:
        items[:] = longest_first(rows, [item for item in items if item not in rows])


def longest_first(rows: list[pytest.Item], quick: list[pytest.Item]) -> list[pytest.Item]:
    """What takes long begins first, so that nothing is waited for alone at the end. pytest-xdist gives each process two at a
    time: a quick one lies between."""
    places = {name: place for place, name in enumerate(LONGEST)}
    rows = sorted(rows, key=lambda item: places.get(item.originalname, len(places)))  # type: ignore[attr-defined]
    pairs = itertools.zip_longest(rows, quick)
    return [item for pair in pairs for item in pair if item is not None]


def pytest_report_header() -> str:
    return f"chaos seed: {SEED} (PYQS_CHAOS_SEED repeats it)"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    outcome = yield
    # The report's line says how its row went.
    if outcome.get_result().when == "call":
        item.stash[_OUTCOME] = outcome.get_result().outcome


_OUTCOME = pytest.StashKey[str]()


@pytest.fixture
def store() -> Iterator[WatchedStore]:
    """The SQS of a row, in memory, in this process."""
    made = WatchedStore()
    yield made
    made.close()


@pytest.fixture
def make_crew(store: WatchedStore, tmp_path: Path) -> Iterator[Callable[..., Crew]]:
    """Makes the workers' crew for a face; creates its queues unless they are there."""
    made: list[Crew] = []

    def make(face: Face, *, queues: tuple[str, ...] = (QUEUE,), **settings: Any) -> Crew:
        python = os.environ.get("PYQS_INTEROP_CELERY57")
        if face.celery and not python:
            pytest.skip("PYQS_INTEROP_CELERY57 names no Python with Celery (see noxfile.py)")
        for queue in queues:
            if not store.has_queue(queue):
                store.create_queue(queue, {"FifoQueue": "true"} if queue.endswith(".fifo") else {})
        crew = Crew(tmp_path / f"crew-{len(made)}", store, face, queues, python=python if face.celery else None, **settings)
        made.append(crew)
        return crew

    yield make
    for crew in made:
        crew.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """The row's figures; written at its end, also when it fails."""
    callspec = getattr(request.node, "callspec", None)
    face = callspec.params.get("face") if callspec is not None else None
    made = Report(request.node.originalname.removeprefix("test_"), "" if face is None else str(face))
    yield made
    made.write(request.node.stash.get(_OUTCOME, "error"))
