"""Celery 5.7 writes results and we read them, and the reverse, on every store that both have: keys and bytes are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import emulators
import real_postgresql
import real_redis

SCRIPT = Path(__file__).with_name("interop_results.py")
ROOT = SCRIPT.parents[2]
AWS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
Store = Callable[[str], tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with emulators.ministack("dynamodb,s3") as url:
        yield url


@pytest.fixture(scope="module")
def postgresql() -> Iterator[real_postgresql.RealPostgresql]:
    with real_postgresql.running() as server:
        yield server


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """URL and settings of a store of this test's, by its kind."""
    with real_redis.running(tmp_path) as server:

        def of_kind(kind: str) -> tuple[str, dict[str, Any]]:
            if kind == "redis":
                return f"{server.url}?virtual_host=3", {}
            if kind == "sqlite":
                return f"db+sqlite:///{tmp_path}/results.db", {}
            if kind == "postgresql":
                return request.getfixturevalue("postgresql").another(), {}
            if kind == "file":
                return f"file://{tmp_path}", {}
            endpoint = request.getfixturevalue("aws")
            if kind == "dynamodb":
                return f"dynamodb://@us-east-1/{tmp_path.name}?ttl_seconds=600", {"dynamodb_endpoint_url": endpoint}
            import boto3

            bucket = f"results-{abs(hash(tmp_path.name))}"
            keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
            boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket=bucket)
            return "s3://", {"s3_bucket": bucket, "s3_endpoint_url": endpoint, "s3_region": "us-east-1"}

        yield of_kind


def run(python: str, what: str, url: str, settings: dict[str, Any], *, foreign: bool) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYQS_", "CELERY_", "PYTHONPATH"))}
    env |= AWS | {"INTEROP_SETTINGS": json.dumps(settings)}
    env |= {"INTEROP_PEER": "celery"} if foreign else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, str(SCRIPT), what, url], capture_output=True, text=True, env=env, timeout=100, check=False, cwd=SCRIPT.parent
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("kind", ["redis", "sqlite", "postgresql", "file", "dynamodb", "s3"])
def test_either_reads_what_the_other_has_written(find_peer: Any, store: Store, kind: str, extended: bool) -> None:
    celery = find_peer("PYQS_INTEROP_CELERY57")
    sides = {"ours": (sys.executable, False), "celery": (celery, True)}
    found = {}
    url, settings = store(kind)
    settings["result_extended"] = extended
    for writer, (python, foreign) in sides.items():
        for reader, (other, alien) in sides.items():
            run(python, "write", url, settings, foreign=foreign)
            found[f"{writer} to {reader}"] = json.loads(run(other, "read", url, settings, foreign=alien))
    expected = found["celery to celery"]
    assert expected["got"] == [{"n": [1, None, "é", 2.5]}, [{"n": [1, None, "é", 2.5]}, None]]
    for way, result in found.items():
        assert result == expected, way
