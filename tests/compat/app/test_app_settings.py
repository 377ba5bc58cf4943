"""Broker URLs, transport options, and what ``-A`` tells a worker."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyqs.errors import BadMessageOption, BootFailed, ConfigError
from pyqs_celery_compat import Celery
from pyqs_celery_compat.appinfo import read_app_settings
from pyqs_celery_compat.conf import WorkerSettings, read_broker_url, read_transport, worker_settings
from pyqs_celery_compat.exceptions import ImproperlyConfigured


@pytest.mark.parametrize(
    ("url", "options", "endpoint", "key", "secret"),
    [
        ("sqs://", {}, None, None, None),
        ("sqs:", {}, None, None, None),
        ("sqs", {}, None, None, None),
        ("sqs://KEY:SECRET@", {}, None, "KEY", "SECRET"),
        ("sqs://KEY:SECRET@//", {}, None, "KEY", "SECRET"),
        ("sqs://KEY:a%2Fb%2Bc@", {}, None, "KEY", "a/b+c"),
        ("sqs://KEY:a/b@", {}, None, "KEY", "a/b"),
        ("sqs://localhost:9324", {}, "http://localhost:9324", None, None),
        ("sqs://x:y@localhost:9324//", {}, "http://localhost:9324", "x", "y"),
        ("sqs://x:y@sqs.example.com", {"is_secure": True}, "https://sqs.example.com", "x", "y"),
        ("sqs://x:y@host", {"port": 99}, "http://host:99", "x", "y"),
    ],
)
def test_broker_urls(url: str, options: Any, endpoint: str | None, key: str | None, secret: str | None) -> None:
    found = read_broker_url(url, options)
    assert (found.endpoint_url, found.access_key_id, found.secret_access_key) == (endpoint, key, secret)


@pytest.mark.parametrize("url", ["", "redis://:pw@h:1", "amqp://guest:pw@h", "sqs://h:port"])
def test_other_brokers_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read_broker_url(url, {})
    assert "pw" not in str(caught.value)


def test_transport_options(make_app: Callable[..., Celery]) -> None:
    app = make_app(
        broker="sqs://k:s@",
        broker_transport_options={
            "region": "eu-west-1", "queue_name_prefix": "p.", "visibility_timeout": 60, "wait_time_seconds": 5,
            "predefined_queues": {
                "a": {"url": "https://sqs.eu-west-1.amazonaws.com/1/a", "region": "us-east-2", "access_key_id": "k2",
                      "secret_access_key": "s2"},
            },
        },
    )  # fmt: skip
    transport = read_transport(app.conf)
    assert transport.connection.region == "eu-west-1"
    assert transport.sqs_name("x.y") == "p-x-y"
    assert transport.requeue_delay == 5
    assert dict(transport.create_attributes) == {"VisibilityTimeout": "60"}
    (queue,) = transport.predefined
    assert (queue.connection.region, queue.connection.access_key_id) == ("us-east-2", "k2")


def test_a_worker_uses_the_keys_on_which_its_predefined_queues_agree(make_app: Callable[..., Celery]) -> None:
    def entry(name: str, key: str) -> dict[str, str]:
        url = f"https://sqs.us-east-2.amazonaws.com/1/{name}"
        return {"url": url, "region": "us-east-2", "access_key_id": key, "secret_access_key": f"secret of {key}"}

    def settings(**keys: str) -> Any:
        queues = {name: entry(name, key) for name, key in keys.items()}
        return worker_settings(make_app(broker="sqs://", broker_transport_options={"predefined_queues": queues}))

    agreed = settings(a="k1", b="k1")
    assert (agreed.connection.access_key_id, agreed.connection.region) == ("k1", "us-east-2")
    assert not any("predefined_queues" in note for note in agreed.notes)
    apart = settings(a="k1", b="k2")
    assert apart.connection.access_key_id is None
    (note,) = [note for note in apart.notes if "predefined_queues" in note]
    assert "a, b: keys or regions of their own" in note
    assert "secret of" not in repr(apart)


@pytest.mark.parametrize(
    "options",
    [
        {"supports_fanout": True},
        {"predefined_exchanges": {"x": {}}},
        {"body_encoding": "raw"},
        {"predefined_queues": {"a": {}}},
        {"predefined_queues": {"a": {"url": "http://h/1/a.fifo"}}},
        {"predefined_queues": {"a.fifo": {"url": "http://h/1/a"}}},
    ],
)
def test_options_that_cannot_be_honoured_are_refused(make_app: Callable[..., Celery], options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        read_transport(make_app(broker_transport_options=options).conf)


def test_secrets_stay_out_of_texts(make_app: Callable[..., Celery], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        app = make_app(broker="sqs://AKIDX:topsecret@h", result_backend="redis://:topsecret@h", my_api_key="topsecret")
        app.conf.task_serializer  # noqa: B018
        texts = [
            repr(app),
            repr(app.conf),
            app.conf.humanize(),
            str(app.conf.table()),
            repr(read_transport(app.conf)),
            caplog.text,
        ]
    assert not [text for text in texts if "topsecret" in text]


def test_worker_settings(make_app: Callable[..., Celery]) -> None:
    app = make_app(
        task_queues={"mail.out": {}, "jobs": {}}, broker_transport_options={"queue_name_prefix": "p."}, worker_concurrency=3,
        worker_prefetch_multiplier=2, worker_soft_shutdown_timeout=40,
    )  # fmt: skip
    found = worker_settings(app)
    assert found.app_queues == ("mail.out", "jobs")
    assert found.queues == ("p-mail-out", "p-jobs")
    assert (found.queue_prefix, found.concurrency, found.prefetch_multiplier, found.shutdown_timeout) == ("p.", 3, 2, 40)
    assert found.create_queues is True


def test_worker_settings_left_open(make_app: Callable[..., Celery]) -> None:
    found = worker_settings(make_app())
    assert found.app_queues == ("celery",)
    assert (found.concurrency, found.prefetch_multiplier, found.shutdown_timeout) == (None, None, None)
    assert worker_settings(make_app(worker_prefetch_multiplier=0)).prefetch_multiplier is None
    assert worker_settings(make_app(worker_pool="solo")).concurrency == 1
    assert worker_settings(make_app(task_create_missing_queues=False, task_queues={"a": {}})).create_queues is False


def test_settings_that_are_not_kept_yet_are_named(make_app: Callable[..., Celery]) -> None:
    notes = worker_settings(make_app(worker_direct=True, task_send_sent_event=True, task_always_eager=True)).notes
    text = "\n".join(notes)
    assert "worker_direct is not kept yet" in text
    assert "task_send_sent_event" in text
    assert "task_always_eager" in text
    assert worker_settings(make_app()).notes == ()


def test_the_region_falls_back_as_kombus(make_app: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert worker_settings(make_app()).connection.region == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert worker_settings(make_app()).connection.region == "eu-north-1"
    options = {"region": "ap-south-1"}
    assert worker_settings(make_app(broker_transport_options=options)).connection.region == "ap-south-1"


def test_what_a_worker_gives_queues_that_it_creates(make_app: Callable[..., Celery]) -> None:
    options = {"visibility_timeout": 60, "sqs-creation-attributes": {"KmsMasterKeyId": "k"}, "queue_tags": {"team": "mail"}}
    found = worker_settings(make_app(broker_transport_options=options))
    assert dict(found.create_attributes) == {"VisibilityTimeout": "60", "KmsMasterKeyId": "k"}
    assert found.create_tags == (("team", "mail"),)


@pytest.mark.parametrize("policy", [[1, 2], {"first": 3}, {1: None}])
def test_a_backoff_policy_that_is_none_is_named(make_app: Callable[..., Celery], policy: Any) -> None:
    entry = {"url": "http://x/q", "backoff_policy": policy, "backoff_tasks": ["t"]}
    app = make_app(broker_transport_options={"predefined_queues": {"q": entry}})
    with pytest.raises(ImproperlyConfigured, match="backoff_policy"):
        worker_settings(app)


def test_kombu_queues_and_names(make_app: Callable[..., Celery]) -> None:
    from kombu import Exchange, Queue

    app = make_app(task_queues=(Queue("a", Exchange("x"), routing_key="r"), Queue("b")))
    assert tuple(app.amqp.queues) == ("a", "b")
    assert app.amqp.queues.bound_to("x", "r").name == "a"
    assert worker_settings(make_app(task_queues=[Queue("t", Exchange("x", type="topic"))])).queues == ("t",)


# -- read in a process of its own -------------------------------------------------------------------------------------


def settings_of(tmp_path: Path, source: str, name: str = "proj_info", include: tuple[str, ...] = ()) -> WorkerSettings:
    (tmp_path / "proj_info.py").write_text(textwrap.dedent(source))
    return read_app_settings(name, include, str(tmp_path))


APP = """
from pyqs_celery_compat import Celery
app = Celery("p", broker="sqs://k:s%2F@h:1", task_queues={"a.b": {}})
"""


def test_settings_are_read_in_another_process(tmp_path: Path) -> None:
    import sys

    found = settings_of(tmp_path, "print('noise')\n" + APP)
    assert found.app_queues == ("a.b",)
    assert found.connection.secret_access_key == "s/"
    assert found.connection.endpoint_url == "http://h:1"
    assert "proj_info" not in sys.modules


def test_an_app_whose_import_leaves_a_thread_running_is_read(tmp_path: Path) -> None:
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n" + APP
    assert settings_of(tmp_path, source).app_queues == ("a.b",)


@pytest.mark.parametrize(
    ("source", "word"),
    [("1 / 0", "ZeroDivisionError"), ("import no_such_module", "no_such_module"), ("raise SystemExit(3)", "SystemExit")],
)
def test_an_app_that_does_not_import_comes_with_its_traceback(tmp_path: Path, source: str, word: str) -> None:
    with pytest.raises(BootFailed, match=word) as caught:
        settings_of(tmp_path, source)
    assert 'proj_info.py", line 1' in caught.value.details


def test_an_app_that_kills_its_process_is_said(tmp_path: Path) -> None:
    with pytest.raises(BootFailed, match="exit status 7"):
        settings_of(tmp_path, "import os; os._exit(7)")


@pytest.mark.parametrize(
    ("source", "name", "word"),
    [
        ("x = 1", "proj_info", "no Celery app"),
        (APP, "proj_info:nope", "no 'nope'"),
        ("app = 5", "proj_info", "not an app"),
        ("from pyqs_celery_compat import Celery\napp = Celery('p', broker='redis://')", "proj_info", "redis"),
        ("from pyqs_celery_compat import Celery\napp = Celery('p')", "proj_info", "no broker"),
    ],
)
def test_what_the_operator_got_wrong_is_a_config_error(tmp_path: Path, source: str, name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        settings_of(tmp_path, source, name)


def test_the_app_is_found_where_celery_finds_it(tmp_path: Path) -> None:
    package = tmp_path / "proj_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(APP)
    (package / "other.py").write_text(APP.replace("app =", "weird =").replace("a.b", "w"))
    (package / "named.py").write_text(APP.replace("app =", "celery =").replace("a.b", "c"))
    for name, queue in [
        ("proj_pkg", "a.b"),
        ("proj_pkg.celery", "a.b"),
        ("proj_pkg.celery:app", "a.b"),
        ("proj_pkg.celery.app", "a.b"),
        ("proj_pkg.other", "w"),
        ("proj_pkg.named", "c"),
    ]:
        assert read_app_settings(name, (), str(tmp_path)).app_queues == (queue,), name


def test_an_import_error_in_the_app_module_is_shown(tmp_path: Path) -> None:
    package = tmp_path / "proj_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text("import no_such_module")
    with pytest.raises(BootFailed, match="no_such_module"):
        read_app_settings("proj_pkg", (), str(tmp_path))


def test_a_dotted_predefined_queue_is_found(make_app: Callable[..., Celery], sqs: Any) -> None:
    url = sqs.create_queue("mail-out")
    app = make_app(broker_transport_options={"predefined_queues": {"mail.out": {"url": url}}})
    app.send_task("t", queue="mail.out")
    assert len(sqs.receive(url, wait=0)) == 1


# -- native tasks on the app's queues ---------------------------------------------------------------------------------


def test_a_native_task_is_refused_on_a_queue_that_the_app_declares(make_app: Callable[..., Celery]) -> None:
    from pyqs.tasks import task

    make_app("shop", task_queues={"mail.out": {}}, broker_transport_options={"queue_name_prefix": "p."})

    @task(queue="p-mail-out", custom_function_path="job_native.refused")
    def work() -> None: ...

    with pytest.raises(BadMessageOption, match=r"'shop'.*allow_native"):
        work.delay()


def test_allow_native_lets_it_pass(make_app: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch) -> None:
    from pyqs import tasks

    sent: list[str] = []

    class Recorder:
        def send(self, queue: str, *args: Any, **kwargs: Any) -> Any:
            sent.append(queue)
            return type("Sent", (), {"message_id": "m"})

    monkeypatch.setattr("pyqs.producer.default_producer", Recorder)
    app = make_app("shop", task_queues={"mail": {}}, allow_native=True)

    @tasks.task(queue="mail", custom_function_path="job_native.allowed")
    def work() -> None: ...

    @tasks.task(queue="elsewhere", custom_function_path="job_native.elsewhere")
    def other() -> None: ...

    work.delay()
    app.conf.allow_native = False
    other.delay()
    assert sent == ["mail", "elsewhere"]


def test_limits_of_a_child_are_taken_over(make_app: Callable[..., Celery]) -> None:
    settings = worker_settings(make_app(worker_max_tasks_per_child=5, worker_max_memory_per_child=200_000))
    assert (settings.max_tasks_per_child, settings.max_memory_per_child) == (5, 200_000)
    assert settings.notes == ()
    settings = worker_settings(make_app(worker_max_tasks_per_child=0))
    assert settings.max_tasks_per_child is settings.max_memory_per_child is None
    with pytest.raises(ImproperlyConfigured, match="worker_max_memory_per_child = 'much': must be a number"):
        worker_settings(make_app(worker_max_memory_per_child="much"))
