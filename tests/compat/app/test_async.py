"""``async def`` tasks of an app: run to their end with everything around a task, in a worker, in place and in Lambda."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdas import Mapping
from pyqs import coroutines
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import Delete, Delivery, Hide
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, Task, publisher, shared_task, signals
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.exceptions import Ignore, ImproperlyConfigured, Reject, Retry
from pyqs_celery_compat.runtime import CeleryRuntime

CONFIG = RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime")
Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _no_worker_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(publisher, "_worker", None)
    yield
    coroutines.close()


@pytest.fixture
def app(make_app: Callable[..., Celery], tmp_path: Path) -> Celery:
    return make_app(backend=f"db+sqlite:///{tmp_path}/results")


@pytest.fixture
def run(app: Celery, sqs: InProcessSqs) -> Run:
    """Publishes a call and runs it as an executor does."""

    def run(task: Any, *args: Any, **options: Any) -> Outcome:
        runtime = CeleryRuntime(CONFIG)
        runtime.boot()
        runtime.after_fork()
        task.apply_async(args, **options)
        (message,) = sqs.receive(sqs.queue_url("celery"), wait=0)
        url = sqs.queue_url("celery")
        prepared = runtime.prepare(Delivery(1, "celery", url, message, boottime(), time.time(), 120))
        return prepared if isinstance(prepared, Outcome) else prepared.run()

    return run


@pytest.mark.parametrize("arguments", [{}, {"bind": True}])
def test_async_functions_run_to_their_end(app: Celery, run: Run, arguments: Any) -> None:
    # Celery 5.7 takes them, reports a success and never runs their body.
    @app.task(**arguments)
    async def work(*args: Any) -> int:
        await asyncio.sleep(0)
        return int(args[-1]) + 1

    outcome = run(work, 1, task_id="id-1")
    assert (outcome.status, outcome.verdict) == ("succeeded", Delete())
    assert app.AsyncResult("id-1").get(timeout=5) == 2


@pytest.mark.parametrize("arguments", [{}, {"bind": True}])
def test_async_generators_are_refused_where_they_are_defined(app: Celery, arguments: Any) -> None:
    @app.task(**arguments)
    async def work(*args: Any) -> Any:
        yield 1

    with pytest.raises(ImproperlyConfigured, match="work: an async generator cannot be a task"):
        app.finalize()


def test_shared_ones_and_classes(app: Celery, run: Run) -> None:
    @shared_task(name="shared")
    async def shared(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    class OfAClass(Task):
        name = "of.a.class"

        async def run(self, x: int) -> str:
            await asyncio.sleep(0)
            return f"{self.request.id} {x}"

    task = app.register_task(OfAClass())
    run(app.tasks["shared"], 1, task_id="a")
    run(task, 2, task_id="b")
    assert [app.AsyncResult(one).get(timeout=5) for one in "ab"] == [2, "b 2"]


def test_a_call_of_a_class_that_calls_super(app: Celery, run: Run) -> None:
    class Base(Task):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    @app.task(base=Base, bind=True)
    async def work(self: Task) -> Any:
        await asyncio.sleep(0)
        return self.request.id

    run(work, task_id="c")
    assert app.AsyncResult("c").get(timeout=5) == "c"


def test_the_request_and_the_current_task_are_there_after_an_await_and_in_children(app: Celery, run: Run) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    async def work(self: Task) -> None:
        async def child() -> None:
            await asyncio.sleep(0)
            seen.append((state.get_current_task() is self, self.request.id))

        await asyncio.sleep(0)
        seen.append((state.get_current_worker_task() is self, self.request.id))
        await asyncio.gather(child(), asyncio.to_thread(lambda: seen.append((True, self.request.id))))

    run(work, task_id="d")
    assert seen == [(True, "d")] * 3
    assert state.get_current_task() is None


def test_links_and_handlers_get_what_it_returns(app: Celery, run: Run) -> None:
    heard: list[Any] = []

    class Heard(Task):
        abstract = True

        def on_success(self, retval: Any, *rest: Any) -> None:
            heard.append(retval)

    @app.task(name="next")
    def following(x: int) -> None: ...

    @app.task(base=Heard)
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    outcome = run(work, 1, link=following.s())
    assert heard == [2]
    (follow_up,) = outcome.follow_ups
    body = json.loads(base64.b64decode(json.loads(base64.b64decode(follow_up.message.body))["body"]))
    assert body[0] == [2]


@pytest.mark.parametrize(
    ("error", "status", "verdict"),
    [(ValueError("no"), "failed", Delete()), (Ignore(), "ignored", Delete()), (Reject("no", requeue=True), "rejected", Hide)],
)
def test_what_it_raises_is_what_a_plain_task_raises(app: Celery, run: Run, error: Any, status: str, verdict: Any) -> None:
    @app.task(acks_late=True)
    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    outcome = run(work)
    assert outcome.status == status
    assert outcome.verdict == verdict or isinstance(outcome.verdict, verdict)


def test_a_retry(app: Celery, run: Run) -> None:
    @app.task(bind=True)
    async def work(self: Task) -> None:
        await asyncio.sleep(0)
        raise self.retry(countdown=3)

    outcome = run(work)
    assert outcome.status == "retried"
    assert [one.message.delay for one in outcome.follow_ups] == [3]


def test_autoretry(app: Celery, run: Run) -> None:
    @app.task(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), retry_backoff=7, retry_jitter=False)
    async def work(missing: bool) -> None:
        await asyncio.sleep(0)
        raise FileNotFoundError if missing else OSError("away")

    outcome = run(work, False)
    assert outcome.status == "retried"
    assert [one.message.delay for one in outcome.follow_ups] == [7]
    assert run(work, True).status == "failed"


def test_pydantic(app: Celery, run: Run) -> None:
    pydantic = pytest.importorskip("pydantic")

    async def work(order: Any) -> Any:
        await asyncio.sleep(0)
        return Order(number=order.number + 1)

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int

    work.__annotations__ = {"order": Order, "return": Order}
    task = app.task(pydantic=True)(work)
    run(task, {"number": 1}, task_id="e")
    assert app.AsyncResult("e").get(timeout=5) == {"number": 2}


@pytest.mark.parametrize(("name", "items"), [("map", [1, 2]), ("starmap", [(1,), (2,)])])
def test_maps_run_each_to_its_end(app: Celery, run: Run, name: str, items: Any) -> None:
    loops: set[Any] = set()

    @app.task
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        return x + 1

    canvas = getattr(work, name)(items)
    run(canvas.type, task_id="f", **{"kwargs": canvas.kwargs})
    assert app.AsyncResult("f").get(timeout=5) == [2, 3]
    assert len(loops) == 1
    assert getattr(work, name)(items).apply().get() == [2, 3]


def test_the_loop_is_kept_and_what_is_left_in_it_is_not(app: Celery, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    loops: list[Any] = []

    @app.task(name="forgets")
    async def work() -> None:
        loops.append((asyncio.get_running_loop(), len(asyncio.all_tasks())))
        work.left = asyncio.create_task(asyncio.sleep(60))

    with caplog.at_level(logging.WARNING, "pyqs"):
        assert run(work).status == run(work).status == "succeeded"
    assert loops[0] == loops[1]
    assert loops[0][1] == 1
    lines = [record.getMessage() for record in caplog.records if record.name == "pyqs.coroutines"]
    assert len(lines) == 2
    assert "forgets has ended and left 1 coroutine(s) running" in lines[0]


def test_called_directly_it_answers_a_coroutine_that_has_the_request(app: Celery) -> None:
    @app.task(bind=True)
    async def work(self: Task, x: int) -> Any:
        await asyncio.sleep(0)
        return self.request.called_directly, self.request.args, state.get_current_task() is self, x

    coroutine = work(5)
    assert inspect.iscoroutine(coroutine)
    directly, args, current, x = asyncio.run(coroutine)
    assert (directly, list(args), current, x) == (True, [5], True, 5)
    assert work.request.args is None
    assert state.get_current_task() is None


def test_in_place_it_is_run_and_leaves_no_loop(app: Celery) -> None:
    tried: list[int] = []

    @app.task(bind=True, max_retries=2)
    async def work(self: Task, x: int) -> int:
        await asyncio.sleep(0)
        tried.append(self.request.retries)
        if self.request.retries < 2:
            raise self.retry(countdown=60)
        return x + 1

    assert work.apply((1,)).get() == 2
    assert tried == [0, 1, 2]
    assert not coroutines.in_use()
    app.conf.task_always_eager = True
    assert work.delay(2).get() == 3


def test_in_place_inside_of_a_running_loop(app: Celery) -> None:
    """As in an ASGI view under test: it runs in a thread, with the caller's context, while the caller's loop waits."""

    @app.task(bind=True)
    async def work(self: Task, x: int) -> Any:
        await asyncio.sleep(0)
        return self.request.id, x + 1

    async def view() -> Any:
        return work.apply((1,), task_id="g").get()

    assert asyncio.run(view()) == ("g", 2)

    @app.task
    async def fails() -> None:
        raise ValueError("no")

    async def failing_view() -> Any:
        return fails.apply()

    assert isinstance(asyncio.run(failing_view()).result, ValueError)


def test_a_retry_of_its_own_is_no_cancellation(app: Celery, run: Run) -> None:
    @app.task(bind=True, acks_late=True)
    async def work(self: Task) -> None:
        try:
            await self._retried()
        except Retry:
            await asyncio.sleep(0)
            raise

    async def retried(self: Any) -> None:
        await asyncio.sleep(0)
        self.retry(countdown=1)

    type(work._get_current_object())._retried = retried
    assert run(work).status == "retried"


def test_signals_are_sent_around_it(app: Celery, run: Run) -> None:
    heard: list[str] = []

    def before(**_: Any) -> None:
        heard.append("prerun")

    def after(retval: Any, **_: Any) -> None:
        heard.append(f"postrun {retval}")

    signals.task_prerun.connect(before)
    signals.task_postrun.connect(after)

    @app.task
    async def work() -> int:
        await asyncio.sleep(0)
        heard.append("body")
        return 1

    try:
        run(work)
    finally:
        signals.task_prerun.disconnect(before)
        signals.task_postrun.disconnect(after)
    assert heard == ["prerun", "body", "postrun 1"]


def test_in_a_lambda_function(app: Celery, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    loops: list[Any] = []

    @app.task(acks_late=True)
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return x + 1

    results = [work.delay(x) for x in range(2)]
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed) == (2, [])
    assert sorted(result.get(timeout=5) for result in results) == [1, 2]
    assert loops[0] is loops[1]
