"""Settings: what is refused, where it comes from, and that no secret is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pyqs.config import ConnectionConfig, RuntimeConfig, WorkerConfig, parse_bool, process_defaults
from pyqs.errors import ConfigError


@pytest.fixture
def _defaults() -> Iterator[None]:
    before = (process_defaults._connection, process_defaults._create_queues)
    yield
    process_defaults._connection, process_defaults._create_queues = before
    process_defaults.generation += 1


def test_no_secret_is_printed() -> None:
    connection = ConnectionConfig(access_key_id="AKIA-mine", secret_access_key="secret-mine", session_token="token-mine")
    for value in (connection, RuntimeConfig(connection=connection), WorkerConfig(("q",), connection=connection)):
        assert "-mine" not in repr(value)


@pytest.mark.parametrize(("key", "secret"), [("a", None), (None, "b"), ("a", "")])
def test_keys_go_together(key: str | None, secret: str | None) -> None:
    with pytest.raises(ConfigError, match="together"):
        ConnectionConfig(access_key_id=key, secret_access_key=secret)


@pytest.mark.parametrize("url", ["localhost:9324", "ftp://x", "sqs://x"])
def test_an_endpoint_is_http(url: str) -> None:
    with pytest.raises(ConfigError, match="http"):
        ConnectionConfig(endpoint_url=url)


def test_the_connection_from_the_environment() -> None:
    env = {"PYQS_REGION": "eu-west-1", "PYQS_ENDPOINT_URL": "http://x", "PYQS_PROFILE": "", "AWS_REGION": "us-east-1"}
    assert ConnectionConfig.from_environment(env) == ConnectionConfig(region="eu-west-1", endpoint_url="http://x")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("concurrency", 0), ("wait", 21), ("wait", -1), ("lease", 9), ("lease", 43201), ("batch_size", 0), ("batch_size", 11),
        ("fetchers_per_queue", 0), ("shutdown_timeout", -1.0), ("idle_cadence", 20), ("idle_cadence", 3601),
    ],
)  # fmt: skip
def test_impossible_settings_of_a_worker(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        WorkerConfig(("q",), **{setting: value})  # type: ignore[arg-type]


def test_what_a_child_gets_is_primitives() -> None:
    settings = RuntimeConfig(include=("a",), accept=("json",), hooks=(("pre_process", "m:f"),))
    values = {name: getattr(settings, name) for name in RuntimeConfig.__dataclass_fields__ if name != "connection"}
    assert json.loads(json.dumps(values))["hooks"] == [["pre_process", "m:f"]]


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_true(text: str) -> None:
    assert parse_bool(text, "X") is True


@pytest.mark.parametrize("text", ["0", "False", "no", "off", ""])
def test_false(text: str) -> None:
    assert parse_bool(text, "X") is False


def test_neither_names_the_setting() -> None:
    with pytest.raises(ConfigError, match="PYQS_X must be true or false, not 'maybe'"):
        parse_bool("maybe", "PYQS_X")


@pytest.mark.usefixtures("_defaults")
def test_what_code_sets_wins_over_the_environment_and_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYQS_REGION", "from-env")
    monkeypatch.setenv("PYQS_CREATE_QUEUES", "0")
    process_defaults._connection = process_defaults._create_queues = None
    assert process_defaults.connection.region == "from-env"
    assert process_defaults.create_queues is False
    generation = process_defaults.generation
    process_defaults.configure(ConnectionConfig(region="from-code"))
    assert process_defaults.connection.region == "from-code"
    assert process_defaults.create_queues is False
    process_defaults.configure(create_queues=True)
    assert process_defaults.create_queues is True
    assert process_defaults.connection.region == "from-code"
    assert process_defaults.generation == generation + 2
