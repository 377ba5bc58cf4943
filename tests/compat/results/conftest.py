"""A real Redis for each test that asks for one, and apps whose results are in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import real_redis
from pyqs_celery_compat import Celery


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_redis.RealRedis]:
    with real_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def make_app(redis_server: real_redis.RealRedis) -> Callable[..., Celery]:
    def make(backend: str = redis_server.url, **settings: Any) -> Celery:
        return Celery("results", broker="memory://", backend=backend, set_as_current=False, **settings)

    return make
