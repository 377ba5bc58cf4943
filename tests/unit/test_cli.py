"""The command line's parsing: which form it is, what an option means, what a wrong one answers. No worker is started."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pyqs import cli, logs
from pyqs.commands import app, cpus, group, legacy, options, worker, worker_options
from pyqs.config import ConnectionConfig, WorkerConfig
from pyqs.errors import BootFailed, ConfigError, PyQSError

Started = list[WorkerConfig]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The settings of each worker that a command line would have run."""
    configs: Started = []

    def run_worker(config: WorkerConfig, **_: object) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(cli, "run_worker", run_worker)
    monkeypatch.setattr(logs, "configure", lambda *args, **kwargs: None)
    return configs


@pytest.fixture
def app_settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, app.AppSettings]:
    """Apps by name, in place of the process that would import them."""
    known: dict[str, app.AppSettings] = {}
    monkeypatch.setattr(worker, "read_app_settings", lambda name, include, directory: known[name])
    return known


def test_worker_options_reach_the_worker(started: Started) -> None:
    line = (
        "worker -Q email.* -Q reports,sms -X email-slow --include one,two -c 3 --accept json,pickle --pickle-allow m.* "
        "--max-payload 3 --burst --strict --lease 60 --shutdown-timeout 7.5 --no-preload "
        "--region eu-west-1 --endpoint-url http://127.0.0.1:1 "
        "--access-key-id id --secret-access-key secret-secret --session-token token-token -l debug"
    )
    assert cli.main(line.split()) == 0
    (config,) = started
    assert config.queues == ("email.*", "reports", "sms")
    assert config.exclude == ("email-slow",)
    assert config.runtime.include == ("one", "two")
    assert config.runtime.accept == ("json", "pickle")
    assert config.runtime.pickle_allow == ("m.*",)
    assert config.runtime.max_payload == 3 << 20
    assert config.runtime.runtime == cli.COMPAT_RUNTIME
    assert config.runtime.working_directory == os.getcwd()
    assert config.runtime.log_level == "DEBUG"
    assert (config.concurrency, config.burst, config.strict, config.lease) == (3, True, True, 60)
    assert (config.shutdown_timeout, config.preload) == (7.5, False)
    assert config.connection == config.runtime.connection
    assert config.connection == ConnectionConfig("eu-west-1", "http://127.0.0.1:1", "id", "secret-secret", "token-token")


def shown_options() -> list[click.Option]:
    """The worker's options, but for those of Celery's that it takes and does not heed."""
    return [one for one in worker.command.params if isinstance(one, click.Option) and not one.hidden]


def test_every_worker_option_has_a_variable() -> None:
    for param in shown_options():
        assert isinstance(param.envvar, str), param.name
        assert param.envvar.startswith(("PYQS_", "CELERY_")), param.name


def test_the_help_names_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["worker", "--help"]) == 0
    shown = capsys.readouterr().out
    for param in shown_options():
        assert str(param.envvar) in shown


def test_variables_stand_for_options(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "QUEUES": "email.*, reports",
        "EXCLUDE": "email-slow",
        "INCLUDE": "one, two",
        "CONCURRENCY": "4",
        "ACCEPT": "json, yaml",
        "BURST": "yes",
        "STRICT": "1",
        "CREATE_QUEUES": "false",
        "LEASE": "30",
        "SHUTDOWN_TIMEOUT": "none",
        "PRELOAD": "off",
        "REGION": "us-west-2",
        "PROFILE": "work",
        "LOG_LEVEL": "warn",
    }.items():
        monkeypatch.setenv("PYQS_" + name, value)
    assert cli.main(["worker"]) == 0
    (config,) = started
    assert config.queues == ("email.*", "reports")
    assert config.exclude == ("email-slow",)
    assert config.runtime.include == ("one", "two")
    assert config.runtime.accept == ("json", "yaml")
    assert (config.concurrency, config.burst, config.strict) == (4, True, True)
    assert (config.create_queues, config.runtime.create_queues) == (False, False)
    assert (config.lease, config.shutdown_timeout, config.preload) == (30, None, False)
    assert (config.connection.region, config.connection.profile) == ("us-west-2", "work")
    assert config.runtime.log_level == "WARNING"


def test_the_command_line_wins_over_variables(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYQS_QUEUES", "other")
    monkeypatch.setenv("PYQS_CONCURRENCY", "9")
    assert cli.main(["worker", "-Q", "email", "-c", "2"]) == 0
    assert (started[0].queues, started[0].concurrency) == (("email",), 2)


def test_options_of_queues_reach_the_worker(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYQS_QUEUES", "email.*:weight=3, http://127.0.0.1:4566/000000000000/q:max=2")
    assert cli.main(["worker"]) == 0
    assert started[0].queues == ("email.*:weight=3", "http://127.0.0.1:4566/000000000000/q:max=2")
    assert cli.main(["worker", "-Q", "arn:aws:sqs:us-east-1:000000000000:q:max=2"]) == 0
    assert started[1].queues == ("arn:aws:sqs:us-east-1:000000000000:q:max=2",)


def test_defaults_without_an_app(started: Started) -> None:
    assert cli.main(["worker", "-Q", "email"]) == 0
    (config,) = started
    assert config.concurrency == cpus.available_cpus()
    assert config.shutdown_timeout == 25.0
    assert (config.create_queues, config.runtime.create_queues) == (False, True)
    assert config.runtime.accept is None
    assert not config.progress


def test_an_app_fills_what_the_command_line_leaves_open(started: Started, app_settings: dict[str, app.AppSettings]) -> None:
    app_settings["proj"] = app.AppSettings(
        queues=("default", "slow"),
        queue_prefix="prod-",
        predefined_queues=(("default", "http://x/1/default"),),
        connection=ConnectionConfig("eu-north-1", "http://127.0.0.1:9", "app-id", "app-secret"),
        create_queues=True,
        create_attributes=(("VisibilityTimeout", "1800"),),
        create_tags=(("team", "mail"),),
        concurrency=6,
        prefetch_multiplier=4,
    )
    assert cli.main(["worker", "-A", "proj", "--region", "eu-west-1"]) == 0
    (config,) = started
    assert config.queues == ("default", "slow")
    assert config.queue_prefix == "prod-"
    assert config.predefined_queues == (("default", "http://x/1/default"),)
    assert (config.concurrency, config.prefetch_bound) == (6, 24)
    assert config.shutdown_timeout is None
    assert config.create_queues
    assert config.create_attributes == (("VisibilityTimeout", "1800"),)
    assert config.create_tags == (("team", "mail"),)
    assert config.connection == ConnectionConfig("eu-west-1", "http://127.0.0.1:9", "app-id", "app-secret")
    assert config.runtime.app == "proj"


@pytest.mark.parametrize(
    ("options", "created"),
    [("", True), ("--strict", False), ("--burst", False), ("--strict --create-queues", True), ("--no-create-queues", False)],
)
def test_an_app_creates_queues_unless_the_worker_is_to_end_over_a_missing_one(
    options: str, created: bool, started: Started, app_settings: dict[str, app.AppSettings]
) -> None:
    app_settings["proj"] = app.AppSettings(queues=("default",), create_queues=True)
    assert cli.main(["worker", "-A", "proj", *options.split()]) == 0
    assert started[0].create_queues is created


def test_the_command_line_wins_over_the_app(started: Started, app_settings: dict[str, app.AppSettings]) -> None:
    app_settings["proj"] = app.AppSettings(queues=("default",), create_queues=True, concurrency=6, shutdown_timeout=90.0)
    line = "worker -A proj -Q other -c 1 --shutdown-timeout 5 --no-create-queues"
    assert cli.main(line.split()) == 0
    (config,) = started
    assert (config.queues, config.concurrency, config.shutdown_timeout, config.create_queues) == (("other",), 1, 5.0, False)


def test_keys_of_the_command_line_never_mix_with_the_apps() -> None:
    settings = app.AppSettings(connection=ConnectionConfig(None, None, "app-id", "app-secret", "app-token"))
    merged = app.merge_connection(ConnectionConfig(access_key_id="id", secret_access_key="secret"), settings)
    assert (merged.access_key_id, merged.secret_access_key, merged.session_token) == ("id", "secret", None)
    merged = app.merge_connection(ConnectionConfig(profile="work"), settings)
    assert (merged.access_key_id, merged.secret_access_key, merged.profile) == (None, None, "work")


def test_variables_do_not_move_a_worker_away_from_its_apps_producers(
    started: Started, app_settings: dict[str, app.AppSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    app_settings["proj"] = app.AppSettings(("email",), connection=ConnectionConfig("eu-north-1", "http://127.0.0.1:9"))
    monkeypatch.setenv("PYQS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PYQS_REGION", "us-east-1")
    assert cli.main(["worker", "-A", "proj", "--region", "eu-west-1"]) == 0
    assert started[0].connection == ConnectionConfig("eu-west-1", "http://127.0.0.1:9")


def test_half_of_a_key_pair_may_come_from_a_variable(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYQS_SECRET_ACCESS_KEY", "secret")
    assert cli.main(["worker", "-Q", "email", "--access-key-id", "id"]) == 0
    assert started[0].connection == ConnectionConfig(access_key_id="id", secret_access_key="secret")


def test_no_words_at_all_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "Usage: pyqs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["-A proj worker -Q email", "-Aproj worker -Q email", "--app proj worker -Q email", "--app=proj worker -Q email"]
)
def test_celerys_order_of_words(line: str, started: Started, app_settings: dict[str, app.AppSettings]) -> None:
    app_settings["proj"] = app.AppSettings()
    assert cli.main(line.split()) == 0
    assert (started[0].runtime.app, started[0].queues) == ("proj", ("email",))


@pytest.mark.parametrize(
    ("line", "queues", "concurrency"),
    [
        (["email.tasks.send_email"], ("email.tasks.send_email",), 1),
        (["email.*"], ("email.*",), 1),
        (["send_email,read_email,write_email"], ("send_email", "read_email", "write_email"), 1),
        (["send_email, read_email"], ("send_email", "read_email"), 1),
        (["send_email", "--concurrency", "10"], ("send_email",), 10),
        (["--concurrency", "10", "send_email"], ("send_email",), 10),
        (["-c", "10", "send_email", "read_email"], ("send_email", "read_email"), 10),
        (["email.*:weight=3"], ("email.*:weight=3",), 1),
        (["email.*:max=2:weight=3,reports:max=1"], ("email.*:weight=3:max=2", "reports:max=1"), 1),
    ],
)
def test_pyqs_form(line: list[str], queues: tuple[str, ...], concurrency: int, started: Started) -> None:
    assert cli.main(line) == 0
    assert (started[0].queues, started[0].concurrency) == (queues, concurrency)
    assert started[0].runtime.log_level == "WARNING"


@pytest.mark.parametrize("spelling", ["--loglevel", "--log_level", "--log-level", "-l"])
def test_pyqs_log_level_spellings(spelling: str, started: Started) -> None:
    assert cli.main(["email", spelling, "INFO"]) == 0
    assert started[0].runtime.log_level == "INFO"


def test_pyqs_connection_options(started: Started) -> None:
    line = "email --region eu-west-1 --access-key-id a --secret-access-key b --endpoint-url http://127.0.0.1:2"
    assert cli.main(line.split()) == 0
    assert started[0].connection == ConnectionConfig("eu-west-1", "http://127.0.0.1:2", "a", "b")


def test_pyqs_form_takes_worker_options_too(started: Started) -> None:
    assert cli.main(["email", "--burst", "--include", "tasks"]) == 0
    assert (started[0].burst, started[0].runtime.include) == (True, ("tasks",))


@pytest.mark.parametrize(
    ("line", "field", "value", "said"),
    [
        ("email --batchsize 3", "batch_size", 3, None),
        ("email --batchsize 0", "batch_size", 1, None),
        ("email --batchsize 50", "batch_size", 10, None),
        ("email --interval 0", "batch_size", 10, None),
        ("email --interval 1.5", "batch_size", 10, "--interval: no longer needed"),
        ("email -c 2 --prefetch-multiplier 3 --batchsize 5", "prefetch_bound", 30, "--prefetch-multiplier: at most 30"),
        ("email -c 2 --simple-worker", "prefetch_bound", 2, "--simple-worker:"),
        ("email -c 2 --simple-worker", "batch_size", 1, "--simple-worker:"),
        ("email -c 2 --simple-worker --batchsize 4", "batch_size", 4, "--simple-worker:"),
    ],
)
def test_pyqs_options_mean_something_or_say_what_replaced_them(
    line: str, field: str, value: int, said: str | None, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 0
    assert getattr(started[0], field) == value
    told = capsys.readouterr().err
    if said is None:
        assert told == ""
    else:
        assert said in told
        assert told.count("\n") == 1


@pytest.mark.parametrize(("typo", "meant"), [("wroker", "worker"), ("worke", "worker"), ("queue", "queues"), ("locl", "local")])
def test_a_mistyped_subcommand_is_not_a_queue(
    typo: str, meant: str, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([typo, "-Q", "email"]) == 2
    told = capsys.readouterr().err
    assert f"did you mean 'pyqs {meant}'?" in told
    assert f"pyqs worker -Q {typo}" in told
    assert not started


def test_a_word_that_only_begins_with_a_subcommand_is_a_queue() -> None:
    assert group.is_queue_form(["checkout"])
    assert group.is_queue_form(["queues-of-mine"])
    with pytest.raises(click.UsageError):
        group.is_queue_form(["chekc"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["worker"], "no queue to consume: give -Q"),
        (["worker", "-Q", ""], "queue"),
        (["worker", "-Q", "email", "-Q", "[a"], "never closed"),
        (["worker", "-Q", "two words"], "space"),
        (["worker", "-Q", "x" * 81], "81 characters"),
        (["worker", "-Q", "arn:aws:sns:r:1:name"], "no queue ARN"),
        (["worker", "-Q", "https://example.com/"], "no queue URL"),
        (["worker", "-Q", "email", "-c", "0"], "0 is not in the range"),
        (["worker", "-Q", "email", "--lease", "5"], "5 is not in the range"),
        (["worker", "-Q", "email", "--shutdown-timeout", "-1"], "neither a number of seconds"),
        (["worker", "-Q", "email", "--shutdown-timeout", "soon"], "neither a number of seconds"),
        (["worker", "-Q", "email", "-l", "loud"], "no log level"),
        (["worker", "-Q", "email", "--access-key-id", "x"], "go together"),
        (["worker", "-Q", "email", "--endpoint-url", "localhost:1"], "must start with http"),
        (["worker", "-Q", "email", "--visibility", "5"], "No such option"),
        (["worker", "email"], "unexpected extra argument"),
        (["email", "--loglevel", "LOUD"], "no log level"),
        (["email", "--prefetch-multiplier", "0"], "at least 1"),
        (["email", "--interval", "-1"], "not in the range"),
        (["--simple-worker"], "Missing argument"),
        (["local", "--memory", "--db", "x.db"], "exclude each other"),
        (["local", "--port", "70000"], "not in the range"),
        (["queues"], "which queues"),
    ],
)
def test_wrong_usage_is_one_clear_error(
    line: list[str], said: str, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not started


@pytest.mark.parametrize("name", ["PYQS_CONCURRENCY", "PYQS_BURST", "PYQS_SHUTDOWN_TIMEOUT"])
def test_a_wrong_variable_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(name, "perhaps")
    assert cli.main(["worker", "-Q", "email"]) == 2
    assert "perhaps" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pyqs")
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("worker", "queues", "local", "demo", "email.*"):
        assert word in shown


def test_windows_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(logs, "configure", lambda *args, **kwargs: None)
    assert cli.main(["worker", "-Q", "email"]) == 2
    told = capsys.readouterr().err
    assert "does not run on Windows" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("a setting is wrong"), 2, "pyqs: error: a setting is wrong\n"),
        (BootFailed("no module proj", "Traceback of the app\n"), 2, "Traceback of the app\npyqs: error: no module proj\n"),
        (PyQSError("something"), 2, "pyqs: error: something\n"),
        (ZeroDivisionError("x"), 1, "internal error: ZeroDivisionError: x"),
    ],
)
def test_errors_are_lines(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: list[str]) -> int:
        raise error

    monkeypatch.setattr(group, "run", fail)
    assert cli.main(["worker"]) == code
    told = capsys.readouterr().err
    assert said in told
    assert 'File "' not in told


def test_a_bug_can_be_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(group, "run", fail)
    monkeypatch.setenv("PYQS_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["worker"])


def test_ctrl_c_before_the_worker_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: WorkerConfig, **_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_worker", interrupted)
    monkeypatch.setattr(logs, "configure", lambda *args, **kwargs: None)
    assert cli.main(["worker", "-Q", "email"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_the_entry_point_is_light() -> None:
    code = "import sys, pyqs.cli, pyqs.main; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    root = Path(cli.__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout.split()
    assert not {"boto3", "botocore", "kombu", "rich", "click", "multiprocessing", "sqlite3", "ssl"} & set(out)


def test_seconds() -> None:
    kind = options.Seconds()
    assert kind.convert("none", None, None) == math.inf
    assert kind.convert("2.5", None, None) == 2.5
    assert kind.convert(0, None, None) == 0.0


def test_items() -> None:
    assert options.items(["a, b", "b,c,", ""]) == ("a", "b", "c")


def test_translate_keeps_what_was_not_pyqs() -> None:
    chosen, notes = legacy.translate(worker_options.WorkerOptions(queues=("email",), burst=True))
    assert (chosen.queues, chosen.burst, chosen.concurrency, notes) == (("email",), True, 1, [])


@pytest.mark.parametrize(("text", "name"), [("info", "INFO"), ("WARN", "WARNING"), (" Debug ", "DEBUG"), ("fatal", "CRITICAL")])
def test_level_names(text: str, name: str) -> None:
    assert logs.level_name(text) == name


def test_secrets_never_reach_a_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "key %s and %s", ("wJalrXUtnFEMI", "x"), None)
    assert logs.RedactSecrets(["wJalrXUtnFEMI", "x", None]).filter(record)
    assert record.getMessage() == "key *** and x"
