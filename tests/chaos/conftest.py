"""What the chaos rows share: the watched SQS, a crew of workers, and a line of results.

A row asks for ``make_crew(face, ...)`` and for ``report``; the harness beside this file does the rest. All rows are
``slow``: the nox session ``chaos`` runs them, ``-- --short`` in the form for CI.
What judges them is itself tested in every run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.crew import Crew
from harness.faces import QUEUE, Face
from harness.report import SEED, Report
from harness.watched import WatchedStore

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "report" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900))


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
