"""``--async-slots`` with Celery's tasks: what belongs to a call is right in each of several that run at a time."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from embedded import Sqs
from pyqs.config import ConnectionConfig
from pyqs.message import Delete
from pyqs.wire import Done, Started
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

RUNTIME = "pyqs_celery_compat.runtime:CeleryRuntime"
APP = """
    import asyncio, threading
    from pathlib import Path
    from pyqs_celery_compat import Celery, current_task, signals
    from pyqs_celery_compat.exceptions import Reject

    HERE = Path(__file__).parent
    app = Celery("slots", broker="sqs://", backend=f"file://{HERE / 'results'}")
    app.conf.task_publish_retry = False
    here = []
    barrier = threading.Barrier(4)

    async def meet(number=4):
        here.append(1)
        while len(here) < number: await asyncio.sleep(0.001)

    def who():
        return current_task.request.id

    @app.task(bind=True)
    async def looks(self):
        async def child():
            await asyncio.sleep(0.01)
            return current_task.request.id
        before = (self.request.id, who())
        await meet()
        return [*before, self.request.id, who(), await asyncio.create_task(child()), await asyncio.to_thread(who),
                self.request.root_id, self.request.parent_id]

    @app.task(bind=True)
    def plainly_looks(self):
        before = (self.request.id, who())
        barrier.wait(20)
        return [*before, self.request.id, who()]

    @app.task
    def add(x, y): return x + y

    @app.task
    async def sends(number):
        await meet()
        add.delay(number, 0)
        await asyncio.sleep(0.01)
        add.apply_async((number, 1), headers={"mine": who()})

    @app.task(bind=True, max_retries=3)
    async def retries(self, number):
        await meet()
        raise self.retry(countdown=number)

    @app.task
    async def links(number):
        await meet()
        return number

    @app.task(bind=True)
    async def rejects(self):
        await meet()
        raise Reject("no", requeue=False)

    @app.task
    async def where(number):
        await asyncio.sleep(0)
        return f"{number} in {threading.current_thread().name}"

    @signals.task_prerun.connect
    def begins(task_id, **_): note(f"begins {task_id} {who()}")

    @signals.task_postrun.connect
    def ends(task_id, **_): note(f"ends {task_id} {who()}")

    lock = threading.Lock()

    def note(line):
        with lock, (HERE / "notes").open("a") as out:
            out.write(line + "\\n")
"""


@pytest.fixture
def child(parent: Any, sqs: Sqs) -> Any:
    parent.write("shop.py", APP)
    (parent.folder / "results").mkdir()
    sqs.create("celery", "email")
    connection = ConnectionConfig("us-east-1", sqs.server.endpoint_url, "a", "b")
    return parent.start(preloading=False, include=(), app="shop", runtime=RUNTIME, async_slots=4, connection=connection)


def send(child: Any, task: str, *args: Any, id: str, **options: Any) -> int:
    text = seal_task(as_task_v2(id, f"shop.{task}", args, {}, **options), routing_key="email")
    return int(child.run("", body=text))


def ends(child: Any, number: int) -> dict[str, Done]:
    """The next so many Done, by their calls."""
    found: dict[str, Done] = {}
    while len(found) < number:
        frame = child.next()
        assert isinstance(frame, Started | Done), frame
        if isinstance(frame, Done):
            found[frame.call_id] = frame
    return found


def called(task: str, *args: Any, **options: Any) -> dict[str, Any]:
    """A signature."""
    return {
        "task": f"shop.{task}", "args": list(args), "kwargs": {}, "options": options, "subtask_type": None, "immutable": False,
    }  # fmt: skip


def result(parent: Any, id: str) -> Any:
    return json.loads((parent.folder / "results" / f"celery-task-meta-{id}").read_text())["result"]


def opened(body: str) -> tuple[dict[str, Any], Any]:
    """Headers of a message, and its arguments."""
    try:
        envelope = json.loads(body)
    except ValueError:
        envelope = json.loads(base64.b64decode(body))
    return envelope["headers"], json.loads(base64.b64decode(envelope["body"]))[0]


def test_request_and_current_task_are_its_own(parent: Any, child: Any) -> None:
    ids = [f"id-{number}" for number in range(4)]
    for id in ids:
        send(child, "looks", id=id, root_id=f"root of {id}", parent_id=f"parent of {id}")
    assert {done.status for done in ends(child, 4).values()} == {"succeeded"}
    for id in ids:
        assert result(parent, id) == [id] * 6 + [f"root of {id}", f"parent of {id}"]
    assert sorted(notes(parent)) == sorted(f"{what} {id} {id}" for id in ids for what in ("begins", "ends"))


def notes(parent: Any) -> list[str]:
    return (parent.folder / "notes").read_text().splitlines()


def test_plain_ones_have_theirs(parent: Any, child: Any) -> None:
    ids = [f"id-{number}" for number in range(4)]
    for id in ids:
        send(child, "plainly_looks", id=id)
    ends(child, 4)
    assert [result(parent, id) for id in ids] == [[id] * 4 for id in ids]


def test_what_each_sends_names_it_as_the_parent(child: Any, sqs: Sqs) -> None:
    for number in range(4):
        send(child, "sends", number, id=f"id-{number}", root_id=f"root-{number}")
    assert {done.status for done in ends(child, 4).values()} == {"succeeded"}
    seen = set()
    while len(seen) < 8:
        for message in sqs.receive("celery"):
            headers, (number, second) = opened(message.body)
            assert (headers["parent_id"], headers["root_id"]) == (f"id-{number}", f"root-{number}")
            assert headers.get("mine") == (f"id-{number}" if second else None)
            seen.add((number, second))


def test_retries_links_and_rejections_are_those_of_their_own_call(child: Any) -> None:
    link = {
        "task": "shop.add",
        "args": [1],
        "kwargs": {},
        "options": {"task_id": "linked"},
        "subtask_type": None,
        "immutable": False,
    }
    send(child, "retries", 60, id="first")
    send(child, "retries", 120, id="second")
    send(child, "links", 5, id="third", callbacks=[link])
    send(child, "rejects", id="fourth")
    done = ends(child, 4)
    assert {id: one.status for id, one in done.items()} == {
        "first": "retried", "second": "retried", "third": "succeeded", "fourth": "rejected",
    }  # fmt: skip
    for id, seconds in (("first", 60), ("second", 120)):
        (again,) = done[id].follow_ups
        headers, args = opened(again.message.body)
        assert (headers["id"], headers["retries"], args) == (id, 1, [seconds])
        assert seconds - 2 <= again.message.delay <= seconds
    (linked,) = done["third"].follow_ups
    headers, args = opened(linked.message.body)
    assert (headers["id"], headers["parent_id"], args) == ("linked", "third", [5, 1])
    assert done["fourth"].follow_ups == ()
    assert done["third"].verdict == Delete()


def test_a_plain_task_that_calls_async_ones_has_them_run_in_the_loop(parent: Any, child: Any) -> None:
    body = as_task_v2("mapped", "celery.map", (), {"task": called("where"), "it": [1, 2]})
    child.run("", body=seal_task(body, routing_key="email"))
    assert ends(child, 1)["mapped"].status == "succeeded"
    assert result(parent, "mapped") == ["1 in MainThread", "2 in MainThread"]
