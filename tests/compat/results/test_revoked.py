"""Revoke: the store in a real Redis, who is told when it is away, and what a worker's processes make of a revoked call."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from kombu.exceptions import OperationalError

from embedded import Clock
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import CalledOff, Death, Delete, Delivery, Hide, Leave
from pyqs_celery_compat import Celery, publisher, revoking, signals
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.app import control
from pyqs_celery_compat.backends import database_revoked, redis_revoked
from pyqs_celery_compat.exceptions import ImproperlyConfigured, TaskRevokedError
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.result_sets import GroupResult
from pyqs_celery_compat.runtime import CeleryRuntime
from real_redis import RealRedis

MakeApp = Callable[..., Celery]
LATER = round(time.time()) + 3600.0


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_told", False)
    monkeypatch.setattr(revoking, "_told", False)


# -- the store ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["redis", "sqlite"])
def make_store(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Callable[..., Any]:
    """Backends of several processes, as it were, on one store."""

    def make(**settings: Any) -> Any:
        urls = () if request.param == "redis" else (f"db+sqlite:///{tmp_path}/revoked.db",)
        return make_app(*urls, **settings).backend

    return make


def test_what_is_added_is_read_once_by_each_reader_and_in_order(
    make_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_revoked, "AT_ONCE", 3)  # several pages
    monkeypatch.setattr(database_revoked, "AT_ONCE", 3)
    writer, reader = make_store(), make_store()
    mark, found = reader.revoked_since(None)
    assert found == []
    calls = [CalledOff(f"call-{number}", LATER + 0.25, 15 * (number % 2)) for number in range(7)]
    writer.add_revoked(calls)
    mark, found = reader.revoked_since(mark)
    assert found == calls
    assert reader.revoked_since(mark) == (mark, [])
    writer.add_revoked([CalledOff("more", LATER)])
    assert reader.revoked_since(mark)[1] == [CalledOff("more", LATER)]
    assert len(writer.revoked_since(None)[1]) == 8


def test_ids_of_thousands_are_kept_and_read(make_store: Callable[..., Any]) -> None:
    calls = [CalledOff(str(number), LATER) for number in range(2500)]
    make_store().add_revoked(calls)
    assert make_store().revoked_since(None)[1] == calls


def test_the_key_has_the_prefix_and_goes_by_itself(make_app: MakeApp) -> None:
    backend: Any = make_app(result_backend_transport_options={"global_keyprefix": "shop"}).backend
    backend.add_revoked([CalledOff("one", LATER)])
    assert backend.client.keys() == [b"shop_pyqs-revoked"]
    assert 3000 < backend.client.ttl("shop_pyqs-revoked") <= 3600


def test_the_stream_is_bounded(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_revoked, "MOST", 100)
    backend: Any = make_app().backend
    backend.add_revoked(CalledOff(str(number), LATER) for number in range(1000))
    found = backend.revoked_since(None)[1]
    assert 100 <= len(found) < 400, "about: Redis lets go of whole nodes"
    assert found[-1].call_id == "999"


def test_what_others_have_put_there_is_passed_over(make_app: MakeApp) -> None:
    backend: Any = make_app().backend
    for entry in ({"x": "y"}, {"id": "one", "until": "soon", "signal": "0"}, {"id": "two", "until": str(LATER), "signal": "9"}):
        backend.client.xadd(backend.revoked_key, entry)
    assert backend.revoked_since(None)[1] == [CalledOff("two", LATER, 9)]


def test_in_a_database_what_is_committed_late_is_not_missed_and_what_is_over_goes(make_app: MakeApp, tmp_path: Path) -> None:
    """Numbers are given when a row is written, and another process's may be seen before."""
    backend: Any = make_app(f"db+sqlite:///{tmp_path}/revoked.db").backend

    def write(number: int, call: CalledOff) -> None:
        row = {"id": number, "call_id": call.call_id, "counts_until": call.until, "kill_signal": call.signal}
        with backend.engine.begin() as connection:
            connection.execute(backend._revoked_table().insert(), [row])

    early, late, old = CalledOff("early", LATER), CalledOff("late", LATER, 9), CalledOff("old", 1.0)
    write(9, early)
    mark, found = backend.revoked_since(None)
    assert found == [early]
    write(7, late)
    write(8, old)
    mark, found = backend.revoked_since(mark)
    assert found == [late, old]
    assert backend.revoked_since(mark)[1] == []
    backend.add_revoked([CalledOff("new", LATER)])
    assert backend.revoked_since(None)[1] == [late, early, CalledOff("new", LATER)]


def test_in_a_database_a_reader_soon_reads_only_what_is_new(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Any = make_app(f"db+sqlite:///{tmp_path}/revoked.db").backend
    backend.add_revoked([CalledOff("one", LATER)])
    mark, _ = backend.revoked_since(None)
    monkeypatch.setattr(database_revoked, "SETTLED", -1.0)
    read: list[Any] = []
    sqlalchemy.event.listen(backend.engine, "before_cursor_execute", lambda *args: read.append(args[3]))
    mark, found = backend.revoked_since(mark)
    assert found == []
    assert read[-1][0] == 1, "it asks for numbers above that of the first"
    backend.add_revoked([CalledOff("two", LATER)])
    assert backend.revoked_since(mark)[1] == [CalledOff("two", LATER)]


def test_results_alone_make_no_table_of_ours(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(f"db+sqlite:///{tmp_path}/results.db")
    app.backend.store_result("one", 1, "SUCCESS")
    assert app.control.revoked_store is None
    assert database_revoked.TABLE not in sqlalchemy.inspect(app.backend.engine).get_table_names()
    asked = make_app(f"db+sqlite:///{tmp_path}/results.db", broker_transport_options={"revoke_store": "result-backend"})
    asked.control.revoke("two")
    assert [one.call_id for one in asked.control.revoked_store.revoked_since(None)[1]] == ["two"]
    assert asked.AsyncResult("two").state == "REVOKED"


# -- which store --------------------------------------------------------------------------------------------------------------


def test_a_store_of_its_own_or_none(make_app: MakeApp, redis_server: RealRedis) -> None:
    plain = make_app()
    assert plain.control.revoked_store is plain.backend
    assert make_app(broker_transport_options={"revoke_store": False}).control.revoked_store is None
    own = make_app("disabled://", broker_transport_options={"revoke_store": redis_server.url})
    own.control.revoke("one")
    assert [one.call_id for one in plain.control.revoked_store.revoked_since(None)[1]] == ["one"]
    assert make_app("disabled://").control.revoked_store is None


@pytest.mark.parametrize(
    ("backend", "store"), [("disabled://", "result-backend"), ("redis://", "cache+memory://"), ("redis://", "nonsense://")]
)
def test_a_store_that_cannot_keep_it_is_an_error(make_app: MakeApp, backend: str, store: str) -> None:
    app = make_app(backend, broker_transport_options={"revoke_store": store})
    with pytest.raises(ImproperlyConfigured):
        app.control.revoke("one")


def test_without_a_store_it_is_the_honest_nothing(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app("disabled://")
    app.control.revoke("one")
    app.control.revoke("two", terminate=True)
    (record,) = caplog.records
    assert "nobody hears 'revoke'" in record.message
    assert "revoke_store" in record.message


# -- who revokes --------------------------------------------------------------------------------------------------------------


def kept(app: Celery) -> list[tuple[str, int]]:
    return [(one.call_id, one.signal) for one in app.control.revoked_store.revoked_since(None)[1]]


def test_every_way_to_revoke(make_app: MakeApp) -> None:
    app = make_app()
    app.control.revoke("one")
    app.control.revoke(["two", "two", "three"], terminate=True)
    app.control.terminate("four", signal="SIGKILL")
    app.AsyncResult("five").revoke(terminate=True, signal="QUIT")
    GroupResult("g", [app.AsyncResult("six"), app.AsyncResult("seven")], app=app).revoke()
    app.control.revoke([])
    assert kept(app) == [("one", 0), ("two", 15), ("three", 15), ("four", 9), ("five", 3), ("six", 0), ("seven", 0)]
    assert app.control.revoke("one") is None
    assert app.control.revoke("one", reply=True, timeout=3600, destination=["a@b"]) == []
    until = app.control.revoked_store.revoked_since(None)[1][0].until
    assert until == pytest.approx(time.time() + 14 * 86400, abs=60)


def test_the_first_one_says_who_does_not_hear_of_it(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    app.control.revoke("one")
    app.control.revoke("two")
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "genuine Celery workers on SQS do not" in record.message


@pytest.mark.parametrize("name", ["SIGNOPE", "sigterm", 4711])
def test_what_is_no_signal_is_an_error_here_and_not_in_workers(make_app: MakeApp, name: Any) -> None:
    app = make_app()
    with pytest.raises(ValueError, match="is no signal"):
        app.control.revoke("one", terminate=True, signal=name)
    assert kept(app) == []


@pytest.mark.parametrize("before", ["PENDING", "RECEIVED", "RETRY", "STARTED", "SUCCESS", "FAILURE", "MINE"])
def test_what_has_not_begun_is_revoked_at_once_for_whoever_waits(make_app: MakeApp, before: str) -> None:
    """As Celery 5.7's workers do. The error is ours, to be caught where the alias is not installed, too."""
    app = make_app()
    if before != "PENDING":
        app.backend.store_result("one", ValueError("x") if before == "FAILURE" else {}, before)
    app.control.revoke("one")
    result = app.AsyncResult("one")
    if before in ("PENDING", "RECEIVED", "RETRY"):
        with pytest.raises(TaskRevokedError, match="revoked"):
            result.get(timeout=5)
    else:
        assert result.state == before


def test_a_store_that_is_away_is_an_error_soon(make_app: MakeApp, redis_server: RealRedis) -> None:
    """The error that Celery raises where its broker is away."""
    app = make_app()
    redis_server.stop()
    began = time.monotonic()
    with pytest.raises(OperationalError, match="did not take it"):
        app.control.revoke("one")
    assert time.monotonic() - began < 5


def test_no_password_is_told(make_app: MakeApp) -> None:
    app = make_app("redis://:hunter2@127.0.0.1:1/0")
    with pytest.raises(OperationalError) as caught:
        app.control.revoke("one")
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_result_backend_that_is_away_takes_nothing_back(
    make_app: MakeApp, redis_server: RealRedis, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(
        "redis://:hunter2@127.0.0.1:1/0",
        broker_transport_options={"revoke_store": redis_server.url},
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
    )
    app.control.revoke(["one", "two"])
    assert kept(app) == [("one", 0), ("two", 0)]
    (told,) = [one.getMessage() for one in caplog.records if "Failed to mark" in one.getMessage()]
    assert "one" in told
    assert "hunter2" not in told


# -- who watches --------------------------------------------------------------------------------------------------------------


class Shelf:
    """A store that may be away."""

    def __init__(self) -> None:
        self.calls: list[CalledOff] = []
        self.away = False

    def revoked_since(self, mark: int | None) -> tuple[int, list[CalledOff]]:
        if self.away:
            raise ConnectionError("away")
        return len(self.calls), self.calls[mark or 0 :]


def test_a_watch_tells_at_once_and_then_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shelf = Shelf()
    told: list[Any] = []
    watch = revoking.Watch(shelf, told.append)
    watch.look()
    assert told == [[]], "the first word is that there are none"
    watch.look()
    one, old, two = CalledOff("one", LATER), CalledOff("old", 1.0), CalledOff("two", LATER, 15)
    shelf.calls += [one, old, two]
    watch.look()
    watch.look()
    assert told == [[], [one, two]]
    assert "Tasks flagged as revoked: one, old" in caplog.messages


def test_a_first_word_of_many_comes_in_parts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(revoking, "AT_ONCE", 2)
    shelf = Shelf()
    told: list[Any] = []
    shelf.calls = [CalledOff(str(number), LATER) for number in range(5)]
    revoking.Watch(shelf, told.append).look()
    assert [len(some) for some in told] == [2, 2, 1]
    assert not caplog.messages, "what was revoked before is nothing new"


def test_a_store_that_is_away_is_told_of_once_and_read_from_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shelf = Shelf()
    told: list[Any] = []
    watch = revoking.Watch(shelf, told.append)
    shelf.away = True
    watch.look()
    watch.look()
    assert told == [[]], "a worker need not wait for what cannot be known"
    shelf.away = False
    shelf.calls.append(CalledOff("one", LATER))
    watch.look()
    assert told == [[], [CalledOff("one", LATER)]]
    assert [record.levelname for record in caplog.records if "which calls are revoked" in record.message] == ["WARNING", "INFO"]


# -- who runs, or does not ----------------------------------------------------------------------------------------------------


class Keeper(KeyValueStoreBackend):
    """Keeps results in a dict, as long as it is up."""

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.kept: dict[str, Any] = {}
        self.down = False

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        if self.down:
            raise ConnectionError("down")
        self.kept[key] = value


class Stand:
    """A runtime on the in-process SQS with a task, and what its handlers and ``task_revoked`` heard."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sqs = InProcessSqs(Store(clock=self.clock))
        self.app = Celery("revoked", broker="sqs://", backend=f"{__name__}:Keeper", set_as_current=True)
        self.app.publisher.connector = lambda connection: self.sqs
        self.runtime = CeleryRuntime(RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime"))
        self.runtime.boot()
        self.heard: list[Any] = []

    def delivered(self, options: dict[str, Any] | None = None, **call: Any) -> Delivery:
        @self.app.task(name="work", shared=False, **(options or {}))
        def work() -> None:
            self.heard.append("ran")

        work.apply_async(task_id="one", **call)
        self.clock.ahead += 900  # nothing is delayed for longer
        (message,) = self.sqs.receive(self.sqs.queue_url("celery"), wait=0)
        return Delivery(1, "celery", self.sqs.queue_url("celery"), message, boottime(), time.time(), 120)

    def revoked(self, sender: Any, request: Any, terminated: Any, signum: Any, expired: Any, **_: Any) -> None:
        self.heard.append((sender.name, request.id, terminated, signum, expired))


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setattr(publisher, "_worker", None)
    monkeypatch.setattr(state._tls, "current_app", None, raising=False)
    monkeypatch.setattr(state, "default_app", None)
    for app in state.active_apps():
        state.deregister_app(app)
    made = Stand()
    signals.task_revoked.connect(made.revoked)
    yield made
    signals.task_revoked.disconnect(made.revoked)


REVOKED = ("work", "one", False, None, False)


def test_a_revoked_call_is_discarded(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """Log, state and signal as seen with Celery 5.7."""
    caplog.set_level(logging.INFO)
    delivery = stand.delivered()
    stand.runtime.call_off([CalledOff("one", LATER)])
    outcome: Any = stand.runtime.prepare(delivery)
    assert (outcome.verdict, outcome.status, outcome.follow_ups) == (Delete(), "revoked", ())
    assert stand.heard == [REVOKED]
    assert caplog.messages[-2:] == ["Task work[one] received", "Discarding revoked task: work[one]"]
    assert (stand.app.AsyncResult("one").state, str(stand.app.AsyncResult("one").result)) == ("REVOKED", "revoked")


def test_one_that_is_due_in_a_month_is_discarded_when_its_message_comes_by(stand: Stand) -> None:
    delivery = stand.delivered(countdown=30 * 86400)
    outcome: Any = stand.runtime.prepare(delivery)
    assert outcome.status == "postponed"
    stand.runtime.call_off([CalledOff("one", LATER)])
    outcome = stand.runtime.prepare(delivery)
    assert outcome.status == "revoked"


def test_one_that_is_revoked_while_it_waits_in_the_executor_does_not_run(stand: Stand) -> None:
    prepared: Any = stand.runtime.prepare(stand.delivered())
    stand.runtime.call_off([CalledOff("one", LATER)])
    assert prepared.run().status == "revoked"
    assert stand.heard == [REVOKED]


def test_an_expired_one_is_expired_as_in_celery(stand: Stand) -> None:
    delivery = stand.delivered(expires=-1)
    stand.runtime.call_off([CalledOff("one", LATER)])
    outcome: Any = stand.runtime.prepare(delivery)
    assert outcome.status == "expired"
    assert stand.heard == [("work", "one", False, None, True)]


def test_what_is_not_kept_comes_again(stand: Stand) -> None:
    delivery = stand.delivered()
    stand.runtime.call_off([CalledOff("one", LATER)])
    stand.app.backend.down = True
    outcome: Any = stand.runtime.prepare(delivery)
    assert isinstance(outcome.verdict, Hide)
    assert stand.heard == []
    stand.app.backend.down = False
    outcome = stand.runtime.prepare(delivery)
    assert outcome.status == "revoked"


@pytest.mark.parametrize(("late", "verdict"), [(True, Delete()), (False, Leave())])
def test_the_host_tells_of_one_that_was_killed(
    stand: Stand, late: bool, verdict: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Log, state and signal as seen with Celery 5.7; no handler, and it does not run again."""
    caplog.set_level(logging.INFO)
    stand.runtime.become_host()
    delivery = stand.delivered({"acks_late": late, "reject_on_worker_lost": True, "on_failure": stand.heard.append})
    outcome = stand.runtime.killed(delivery, Death("died (SIGKILL)", None, not late, 15))
    assert (outcome.verdict, outcome.status, outcome.follow_ups) == (verdict, "revoked", ())
    assert stand.heard == [("work", "one", True, signal.SIGTERM, False)]
    assert "Terminating one (15)" in caplog.messages
    assert (stand.app.AsyncResult("one").state, str(stand.app.AsyncResult("one").result)) == ("REVOKED", "terminated")


def test_a_killed_one_whose_state_is_not_kept_comes_again_and_is_discarded_then(stand: Stand) -> None:
    stand.runtime.become_host()
    delivery = stand.delivered({"acks_late": True})
    stand.app.backend.down = True
    assert isinstance(stand.runtime.killed(delivery, Death("died (SIGKILL)", None, False, 15)).verdict, Hide)
    assert stand.heard == []
