"""``pyqs.main``: PyQS's functions for programs that call them."""

from __future__ import annotations

import inspect

import pytest

from pyqs import cli, logs, main
from pyqs.config import ConnectionConfig, WorkerConfig
from pyqs.errors import ConfigError

#: The parameters of ``_main`` in PyQS 1.0.1, in order.
PYQS_PARAMETERS = [
    "queue_prefixes", "concurrency", "logging_level", "region", "access_key_id", "secret_access_key", "interval", "batchsize",
    "prefetch_multiplier", "simple_worker",
]  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[WorkerConfig]:
    configs: list[WorkerConfig] = []

    def run_worker(config: WorkerConfig, **_: object) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(cli, "run_worker", run_worker)
    monkeypatch.setattr(logs, "configure", lambda *args, **kwargs: None)
    return configs


def test_the_parameters_are_pyqs_own() -> None:
    assert list(inspect.signature(main._main).parameters)[: len(PYQS_PARAMETERS)] == PYQS_PARAMETERS


def test_a_stop_in_order_returns(started: list[WorkerConfig], capsys: pytest.CaptureFixture[str]) -> None:
    main._main(queue_prefixes=["email.*", "sms"])
    (config,) = started
    assert config.queues == ("email.*", "sms")
    assert (config.concurrency, config.runtime.log_level, config.batch_size) == (5, "WARNING", 10)
    assert capsys.readouterr().err == ""


def test_what_is_given_wins_over_the_environment(started: list[WorkerConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYQS_REGION", "us-west-1")
    monkeypatch.setenv("PYQS_ENDPOINT_URL", "http://127.0.0.1:1")
    main._main(["email"], region="eu-west-1", access_key_id="a", secret_access_key="b", logging_level="DEBUG", concurrency=2)
    assert started[0].connection == ConnectionConfig("eu-west-1", "http://127.0.0.1:1", "a", "b")
    assert (started[0].concurrency, started[0].runtime.log_level) == (2, "DEBUG")


def test_old_options_are_answered(started: list[WorkerConfig], capsys: pytest.CaptureFixture[str]) -> None:
    main._main(["email"], interval=2, batchsize=5, prefetch_multiplier=1, concurrency=3)
    assert (started[0].batch_size, started[0].prefetch_bound) == (5, 15)
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"queue_prefixes": ["[x"]}, "never closed"),
        ({"queue_prefixes": []}, "no queue to consume"),
        ({"queue_prefixes": ["email"], "logging_level": "LOUD"}, "no log level"),
        ({"queue_prefixes": ["email"], "access_key_id": "a"}, "go together"),
        ({"queue_prefixes": ["email"], "concurrency": -1}, "at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    given: dict[str, object], said: str, started: list[WorkerConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main._main(**given)  # type: ignore[arg-type]
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not started


def test_a_crash_is_exit_1(monkeypatch: pytest.MonkeyPatch, started: list[WorkerConfig]) -> None:
    monkeypatch.setattr(cli, "run_worker", lambda config, **_: 1)
    with pytest.raises(SystemExit) as stop:
        main._main(["email"])
    assert stop.value.code == 1


def test_hooks_become_dotted_paths(started: list[WorkerConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    from pyqs import events

    monkeypatch.setattr(events, "dotted_paths", lambda: (("pre_process", "shop.hooks.before"),))
    main._main(["email"])
    assert started[0].runtime.hooks == (("pre_process", "shop.hooks.before"),)


def test_a_hook_without_a_path_is_told(
    started: list[WorkerConfig], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyqs import events

    def no_path() -> None:
        raise ConfigError("a lambda cannot reach an executor")

    monkeypatch.setattr(events, "dotted_paths", no_path)
    with pytest.raises(SystemExit) as stop:
        main._main(["email"])
    assert stop.value.code == 2
    assert "lambda" in capsys.readouterr().err


def test_main_reads_the_command_line(started: list[WorkerConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pyqs", "email.*", "--concurrency", "3"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 0
    assert (started[0].queues, started[0].concurrency) == (("email.*",), 3)
