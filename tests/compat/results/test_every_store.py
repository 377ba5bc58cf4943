"""What every store of results does, each for real: Redis, SQLite, files; DynamoDB and S3 as moto has them."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import emulators
import real_redis
from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import TimeoutError
from pyqs_celery_compat.result import AsyncResult
from pyqs_celery_compat.result_sets import GroupResult

Make = Callable[..., Celery]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    if importlib.util.find_spec("moto") is None and "PYQS_CONTRACT_PYTHON" not in os.environ:
        pytest.skip("moto is not installed (see the interop session of noxfile.py)")
    with emulators.listening(emulators.MOTO) as url:
        yield url


@pytest.fixture(params=["redis", "sqlite", "file", "dynamodb", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes apps on one store: each is another process's, as far as the store can tell."""
    settings: dict[str, Any] = {}
    with real_redis.running(tmp_path) if request.param == "redis" else _nothing() as server:
        if request.param == "redis":
            url = server.url
        elif request.param == "sqlite":
            url = f"db+sqlite:///{tmp_path}/results.db"
        elif request.param == "file":
            url = f"file://{tmp_path}"
        else:
            endpoint = request.getfixturevalue("aws")
            for name, value in CREDENTIALS.items():
                monkeypatch.setenv(name, value)
            url, settings = _on_aws(request.param, endpoint, tmp_path.name)

        def made(**more: Any) -> Celery:
            return Celery("store", broker="memory://", backend=url, set_as_current=False, **settings, **more)

        yield made


class _nothing:  # noqa: N801 - like contextlib's nullcontext, without a type
    url = ""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None: ...


def _on_aws(kind: str, endpoint: str, name: str) -> tuple[str, dict[str, Any]]:
    if kind == "dynamodb":
        return f"dynamodb://@us-east-1/{name}?ttl_seconds=600", {"dynamodb_endpoint_url": endpoint}
    import boto3

    bucket = f"results-{abs(hash(name))}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    return "s3://", {"s3_bucket": bucket, "s3_base_path": "kept/", "s3_endpoint_url": endpoint, "s3_region": "us-east-1"}


def test_what_one_stores_another_reads(make: Make) -> None:
    one, other = make(), make()
    one.backend.store_result("a", {"n": [1, None, "é"]}, "SUCCESS")
    one.backend.store_result("b", ValueError("no", 2), "FAILURE", traceback="line")
    one.backend.store_result("c", {"done": 3}, "PROGRESS")
    found = {name: other.AsyncResult(name) for name in "abc"}
    assert (found["a"].state, found["a"].get(timeout=5)) == ("SUCCESS", {"n": [1, None, "é"]})
    assert repr(found["b"].result) == "ValueError('no', 2)"
    assert found["b"].traceback == "line"
    assert (found["c"].state, found["c"].info) == ("PROGRESS", {"done": 3})
    assert other.AsyncResult("nobody").state == "PENDING"


def test_a_success_is_kept_whatever_comes_later(make: Make) -> None:
    app = make()
    app.backend.store_result("a", 1, "SUCCESS")
    app.backend.store_result("a", ValueError(), "FAILURE")
    app.backend.store_result("b", ValueError(), "FAILURE")
    app.backend.store_result("b", 2, "SUCCESS")
    assert [app.AsyncResult(name).state for name in "ab"] == ["SUCCESS", "SUCCESS"]


def test_what_is_forgotten_was_never_there(make: Make) -> None:
    app = make()
    app.backend.store_result("a", 1, "SUCCESS")
    app.AsyncResult("a").forget()
    assert app.AsyncResult("a").state == "PENDING"
    app.AsyncResult("nobody").forget()


def test_a_group_is_saved_and_restored_with_its_parent(make: Make) -> None:
    one, other = make(), make()
    members = [AsyncResult(name, app=one) for name in "ab"]
    GroupResult("g", members, parent=AsyncResult("p", app=one), app=one).save()
    GroupResult("g", members[:1], parent=AsyncResult("p", app=one), app=one).save()
    found = GroupResult.restore("g", app=other)
    assert (found.id, [result.id for result in found.results], found.parent.id) == ("g", ["a"], "p")
    found.delete()
    assert GroupResult.restore("g", app=other) is None


def test_who_waits_gets_it_when_it_is_there(make: Make) -> None:
    one, other = make(), make()
    waiting, found = threading.Event(), []
    wait = threading.Thread(
        target=lambda: found.append(other.AsyncResult("a").get(timeout=30, interval=0.05, on_interval=waiting.set))
    )
    wait.start()
    assert waiting.wait(30)
    one.backend.store_result("a", "here", "SUCCESS")
    wait.join(30)
    assert found == ["here"]


def test_a_wait_has_an_end(make: Make) -> None:
    with pytest.raises(TimeoutError):
        make().AsyncResult("nobody").get(timeout=0.05)


def test_extended_results_say_what_was_called(make: Make) -> None:
    from pyqs_celery_compat.request import Context

    request = Context(id="a", task="t", args=[1], kwargs={"k": 2}, hostname="h", retries=3, delivery_info={"routing_key": "q"})
    make(result_extended=True).backend.store_result("a", 1, "SUCCESS", request=request)
    found = make(result_extended=True).AsyncResult("a")
    assert (found.name, found.args, found.kwargs) == ("t", [1], {"k": 2})
    assert (found.worker, found.retries, found.queue) == ("h", 3, "q")


def test_a_backend_made_before_a_fork_serves_both_sides(make: Make) -> None:
    app = make()
    app.backend.store_result("parent", 1, "SUCCESS")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.backend.store_result("child", app.AsyncResult("parent").result + 1, "SUCCESS")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert app.AsyncResult("child").get(timeout=10) == 2
    assert app.AsyncResult("parent").state == "SUCCESS"


@pytest.mark.parametrize("url", ["redis://u:geheim@h/1", "dynamodb://key:geheim@us-east-1/t"])
def test_no_password_is_shown(url: str) -> None:
    assert "geheim" not in Celery("hush", broker="memory://", backend=url, set_as_current=False).backend.as_uri()
