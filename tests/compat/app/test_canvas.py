"""Canvases of our own: what is published of them, what a worker makes of it, what is refused before anything is sent."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import Delete, Delivery, ReceivedMessage
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, canvas, chain, chord, group, pickles, publisher
from pyqs_celery_compat.runtime import CeleryRuntime


class Line:
    """An app, and a worker that runs what is on its queue one after another, follow-ups included."""

    def __init__(self, app: Celery, sqs: InProcessSqs) -> None:
        self.app, self.sqs = app, sqs
        self.seen: list[Any] = []
        self.sent: list[dict[str, Any]] = []
        self.runtime = CeleryRuntime(RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime"))
        self.runtime.boot()
        self.runtime.after_fork()

        @app.task(name="note", bind=True)
        def note(task: Any, *values: Any) -> list[Any]:
            self.seen.append((list(values), task.request.id, task.request.root_id))
            return list(values)

        self.note = app.tasks["note"]

    def drain(self) -> list[Outcome]:
        """Run all that is there; each follow-up as the worker would send it, after its parent's end."""
        outcomes, bodies = [], self.visible()
        while bodies:
            body = bodies.pop(0)
            self.sent.append(json.loads(base64.b64decode(body)))
            message = ReceivedMessage(f"m{len(self.sent)}", f"h{len(self.sent)}", body, {"ApproximateReceiveCount": "1"})
            url = self.sqs.queue_url("celery")
            prepared = self.runtime.prepare(Delivery(len(self.sent), "celery", url, message, boottime(), time.time(), 120))
            outcome = prepared if isinstance(prepared, Outcome) else prepared.run()
            outcomes.append(outcome)
            bodies += [one.message.body for one in outcome.follow_ups] + self.visible()
        return outcomes

    def visible(self) -> list[str]:
        found = self.sqs.receive(self.sqs.create_queue("celery"), wait=0, max_messages=10)
        return [message.body for message in found]


@pytest.fixture
def line(app: Celery, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(publisher, "_worker", None)
    return Line(app, sqs)


def values(line: Line) -> list[Any]:
    return [seen[0] for seen in line.seen]


def test_a_chain_runs_its_tasks_one_after_another(line: Line) -> None:
    result = (line.note.s(1) | line.note.s(2) | line.note.s(3)).apply_async((0,))
    outcomes = line.drain()
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3
    assert values(line) == [[0, 1], [[0, 1], 2], [[[0, 1], 2], 3]]
    ids = [seen[1] for seen in line.seen]
    assert [result.parent.parent.id, result.parent.id, result.id] == ids
    assert {seen[2] for seen in line.seen} == {ids[0]}
    payload = json.loads(base64.b64decode(line.sent[0]["body"]))
    assert [step["args"] for step in payload[2]["chain"]] == [[3], [2]]  # stored in reverse, as Celery stores it


def test_a_chain_may_end_in_a_group(line: Line) -> None:
    result = chain(line.note.s(1), group(line.note.s(2), line.note.s(3)))()
    line.drain()
    assert values(line) == [[1], [[1], 2], [[1], 3]]
    assert [one.id for one in result] == [seen[1] for seen in line.seen[1:]]


def test_options_of_a_chain_are_its_first_tasks_and_links_its_last_ones(line: Line) -> None:
    (line.note.si(1) | line.note.si(2)).apply_async(priority=7, link=line.note.si("linked"), link_error=line.note.si("failed"))
    line.drain()
    assert values(line) == [[1], [2], ["linked"]]
    assert [envelope["properties"]["priority"] for envelope in line.sent] == [7, 0, 0]
    first = json.loads(base64.b64decode(line.sent[0]["body"]))[2]
    assert [first["errbacks"][0]["args"], first["chain"][0]["options"]["link_error"][0]["args"]] == [["failed"], ["failed"]]


def test_a_group_is_published_beside_one_another(line: Line) -> None:
    result = group(line.note.s(1), group(line.note.s(2), line.note.s(3)))(0)
    line.drain()
    assert values(line) == [[0, 1], [0, 2], [0, 3]]
    assert [one.id for one in result] == [seen[1] for seen in line.seen]
    headers = [envelope["headers"] for envelope in line.sent]
    assert {header["group"] for header in headers} == {result.id}
    assert [header["group_index"] for header in headers] == [0, 1, 2]


def test_a_canvas_that_is_called_twice_is_two_calls(line: Line) -> None:
    sig = line.note.s(1) | line.note.s(2)
    both = group(line.note.s(1), line.note.s(2))
    assert len({sig.delay().id, sig.delay().id}) == 2
    assert len({one.id for one in (*both.delay(), *both.delay())}) == 4


def test_one_task_over_many_arguments(line: Line) -> None:
    line.note.map([1, 2]).delay()
    line.note.starmap([(1, 2)]).delay()
    line.note.chunks([(3,), (4,), (5,)], 2).delay()
    line.drain()
    assert values(line) == [[1], [2], [1, 2], [3], [4], [5]]
    assert [envelope["headers"]["task"] for envelope in line.sent] == ["celery.map", *["celery.starmap"] * 3]


def test_a_chunk_of_nothing_is_an_error(line: Line) -> None:
    with pytest.raises(ValueError, match="a chunk of 0"):
        line.note.chunks([1], 0)


@pytest.mark.parametrize(
    "build", [lambda note: chord([note.s(1)], note.s()), lambda note: group(note.s(1), note.s(2)) | note.s()]
)
def test_a_chord_without_a_result_backend_publishes_nothing(line: Line, build: Callable[[Any], Any]) -> None:
    with pytest.raises(NotImplementedError, match="a chord needs a result backend"):
        build(line.note).delay()
    assert line.drain() == []


def test_a_chord_is_published_with_its_body_in_each_message(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    """What a worker of this version leaves on its queue, and one of Celery's could run."""
    app = make_app(backend="cache+memory://")

    @app.task(name="note")
    def note(*values: Any) -> None: ...

    result = chord([note.s(1), note.s(2)])(note.s(3))
    bodies = sqs.receive(sqs.queue_url("celery"), wait=0, max_messages=10)
    payloads = [json.loads(base64.b64decode(json.loads(base64.b64decode(message.body))["body"])) for message in bodies]
    assert [payload[2]["chord"]["options"]["task_id"] for payload in payloads] == [result.id] * 2
    assert {payload[2]["chord"]["chord_size"] for payload in payloads} == {2}
    assert app.GroupResult(result.parent.id, result.parent.results) == result.parent


# -- a task in another one's place -------------------------------------------------------------------------------------


def test_what_replaces_a_task_is_sent_before_its_message_is_deleted(line: Line) -> None:
    @line.app.task(name="first", bind=True, acks_late=True)
    def first(self: Any, x: int) -> None:
        raise self.replace(line.note.s(x))

    first.apply_async((5,), task_id="i", link=line.note.s("linked"), chain=[dict(line.note.s("next").set(task_id="j"))])
    outcomes = line.drain()
    assert (outcomes[0].status, outcomes[0].verdict, len(outcomes[0].follow_ups)) == ("ignored", Delete(), 1)
    assert (line.sent[1]["headers"]["id"], line.sent[1]["headers"]["replaced_task_nesting"]) == ("i", 1)
    assert line.seen[0][:2] == ([5], "i")
    assert sorted(map(str, values(line)[1:])) == ["[[5], 'linked']", "[[5], 'next']"]
    assert "j" in [seen[1] for seen in line.seen]


def test_a_task_in_no_chord_cannot_add_to_one(line: Line) -> None:
    with pytest.raises(ValueError, match="not member of any chord"):
        line.note.add_to_chord(line.note.s(1))


# -- written down ------------------------------------------------------------------------------------------------------


def test_canvases_are_pickled_as_dicts_by_the_serializer_and_come_out_as_canvases(line: Line) -> None:
    sig = line.note.s(1) | group(line.note.s(2), line.note.s(3))
    data = pickles.dumps(sig)
    assert b"pyqs" not in data
    assert b"celery.canvas" not in data
    read = canvas.signature(pickle.loads(data), app=line.app)  # noqa: S301
    assert (type(read).__name__, type(read.tasks[1]).__name__) == ("_chain", "group")


def test_an_errback_that_is_a_canvas_is_published_not_called(line: Line) -> None:
    @line.app.task(name="failing")
    def failing() -> None:
        raise ValueError

    failing.apply_async(link_error=line.note.si(1) | line.note.si(2))
    line.drain()
    assert values(line) == [[1], [2]]


@pytest.mark.parametrize(
    ("name", "args", "immutable", "called"),
    [
        ("one", (), False, False),
        ("two", (), False, True),
        ("two", (1,), False, False),
        ("two", (1, 2), True, True),
        ("three", (), False, True),
        ("three", (1, 2, 3), True, True),
    ],
)
def test_which_errbacks_are_called_and_which_published(
    line: Line, name: str, args: tuple[int, ...], immutable: bool, called: bool
) -> None:
    """As Celery 5.7 decides: by what the failure has yet to fill, of an immutable one by all that its task takes."""

    @line.app.task(name="failing")
    def failing() -> None:
        raise ValueError

    line.app.task(name="one", shared=False)(lambda task_id: None)
    line.app.task(name="two", shared=False)(lambda first, second: None)
    line.app.task(name="three", shared=False)(lambda request, exc, traceback: None)
    failing.apply_async(link_error=line.app.tasks[name].s(*args).set(immutable=immutable))
    assert len(line.drain()) == (1 if called else 2)
