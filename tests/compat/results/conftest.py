"""Stores of results, each for real and each test's own, and apps on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import emulators
import real_postgresql
import real_redis
from one_worker import World
from pyqs_celery_compat import Celery, publisher
from pyqs_celery_compat import _state as state


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_redis.RealRedis]:
    with real_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def make_app(redis_server: real_redis.RealRedis) -> Callable[..., Celery]:
    def make(backend: str = redis_server.url, **settings: Any) -> Celery:
        return Celery("results", broker="memory://", backend=backend, set_as_current=False, **settings)

    return make


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    with emulators.ministack("dynamodb,s3") as url:
        yield url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[real_postgresql.RealPostgresql]:
    with real_postgresql.running() as server:
        yield server


@pytest.fixture(params=["redis", "sqlite", "postgresql", "file", "dynamodb", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, Any]]]:
    """URL and settings."""
    if request.param == "redis":
        with real_redis.running(tmp_path) as server:
            yield server.url, {}
    elif request.param == "sqlite":
        yield f"db+sqlite:///{tmp_path}/results.db", {}
    elif request.param == "postgresql":
        yield request.getfixturevalue("postgresql").another(), {}
    elif request.param == "file":
        yield f"file://{tmp_path}", {}
    else:
        endpoint = request.getfixturevalue("aws")
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        yield _on_aws(request.param, endpoint, f"{tmp_path.parent.name}-{tmp_path.name}")


def _on_aws(kind: str, endpoint: str, name: str) -> tuple[str, dict[str, Any]]:
    if kind == "dynamodb":
        return f"dynamodb://@us-east-1/{name}?ttl_seconds=600", {"dynamodb_endpoint_url": endpoint}
    import boto3

    bucket = f"results-{abs(hash(name))}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    return "s3://", {"s3_bucket": bucket, "s3_base_path": "kept/", "s3_endpoint_url": endpoint, "s3_region": "us-east-1"}


@pytest.fixture
def world(store: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> World:
    url, settings = store
    monkeypatch.setattr(publisher, "_worker", None)
    monkeypatch.setattr(state._tls, "current_app", None, raising=False)
    monkeypatch.setattr(state, "default_app", None)
    for app in state.active_apps():
        state.deregister_app(app)
    return World(url, settings)
