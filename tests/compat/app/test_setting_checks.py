"""Values that cannot be meant are one error when a worker starts, and names that are near to a setting's are a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu.serialization import register, unregister

from pyqs_celery_compat import Celery
from pyqs_celery_compat.app.setting_checks import remarks, slips
from pyqs_celery_compat.conf import check_worker_settings, read_transport, worker_settings
from pyqs_celery_compat.exceptions import ImproperlyConfigured


def refusal(app: Celery) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        check_worker_settings(app)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("task_acks_late", "False", "task_acks_late = 'False': text, where True or False is meant"),
        ("task_always_eager", [], "True or False is meant, not a value of type list"),
        ("worker_concurrency", "four", "worker_concurrency = 'four': must be a number of at least 0"),
        ("worker_concurrency", -1, "must be a number of at least 0"),
        ("worker_max_tasks_per_child", 1.5, "must be a number of at least 0"),
        ("task_time_limit", "300", "task_time_limit = '300': must be a number of seconds"),
        ("worker_pool", "gevent", "tasks run in processes here"),
        ("task_default_queue", 5, "text is meant, not a value of type int"),
        ("broker_transport_options", "region", "a dict is meant, not a value of type str"),
        ("imports", 5, "must be a list of modules by name"),
        ("include", ["a", 5], "must be a list of modules by name"),
        ("timezone", "Europe/Roma", "no time zone of this name; did you mean 'Europe/Rome'?"),
        ("task_serializer", "jsno", "'jsno' is no serializer that is known here; did you mean 'json'?"),
        ("accept_content", ["json", "pickel"], "'pickel' is no serializer that is known here; did you mean 'pickle'?"),
        ("accept_content", "json", "must be a list of serializers"),
        ("task_compression", "gz", "is not known here; brotli"),
        ("task_compression", ["gzip"], "is not known here; brotli"),
        ("task_serializer", ["json"], "['json'] is no serializer that is known here"),
        ("task_default_rate_limit", "10/d", "'10/d' is no rate"),
        ("worker_redirect_stdouts_level", "LOUD", "must be a level of Python's logging"),
        ("worker_agent", "x:Agent", "worker_agent = 'x:Agent': cannot be replaced"),
        ("worker_consumer", "x:Consumer", "cannot be replaced"),
        ("broker_read_url", ["sqs://", "sqs://x"], "one URL is meant"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_what_is_right(
    make_app: Callable[..., Celery], name: str, value: Any, said: str
) -> None:
    assert said in refusal(make_app(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", 1), ("worker_concurrency", "4"), ("worker_concurrency", "auto"), ("worker_pool", "solo"),
        ("imports", "proj.tasks"), ("include", ("a", "b")), ("accept_content", {"json", "application/x-mine"}),
        ("task_compression", "gzip"), ("task_default_rate_limit", "10/m"), ("timezone", "Europe/Rome"),
        ("worker_redirect_stdouts_level", "info"), ("task_soft_time_limit", 1.5), ("broker_pool_limit", False),
        ("broker_read_url", ["sqs://"]), ("worker_max_tasks_per_child", None),
    ],
)  # fmt: skip
def test_what_celery_takes_is_taken(make_app: Callable[..., Celery], name: str, value: Any) -> None:
    check_worker_settings(make_app(**{name: value}))


def test_one_error_names_them_all(make_app: Callable[..., Celery]) -> None:
    said = refusal(make_app(task_acks_late="no", worker_concurrency="many"))
    assert said.splitlines()[0] == "these settings cannot be honoured:"
    assert [line.split(" = ")[0] for line in said.splitlines()[1:]] == ["task_acks_late", "worker_concurrency"]


def test_no_secret_is_in_the_error(make_app: Callable[..., Celery]) -> None:
    options = {"predefined_queues": {}, "secret": "hush"}
    said = refusal(make_app(broker_password=b"hush", task_default_queue=options))
    assert "broker_password = '********'" in said
    assert "hush" not in said


def test_a_serializer_of_the_projects_own_is_known_once_it_is_registered(make_app: Callable[..., Celery]) -> None:
    app = make_app(task_serializer="mine", accept_content=["mine"])
    assert "'mine' is no serializer" in refusal(app)
    register("mine", repr, eval, "application/x-mine", "utf-8")
    try:
        check_worker_settings(app)
    finally:
        unregister("mine")


def test_what_has_no_effect_and_may_be_missed_is_a_line(make_app: Callable[..., Celery]) -> None:
    app = make_app(worker_send_task_events=True, task_queue_max_priority=10, worker_direct=True, result_expires=5)
    assert [line.split(":")[0] for line in worker_settings(app).notes] == [
        "task_queue_max_priority has no effect", "worker_direct is not kept yet", "worker_send_task_events has no effect",
    ]  # fmt: skip


def test_settings_at_celerys_default_are_no_line(make_app: Callable[..., Celery]) -> None:
    from pyqs_celery_compat.app.defaults import DEFAULTS

    # broker_url and result_backend are None there, which the app's own stand for.
    said = {name: value for name, value in DEFAULTS.items() if value is not None}
    assert list(remarks(make_app(**said).conf)) == []
    assert list(remarks(make_app(result_backend="disabled://").conf)) == []


@pytest.mark.parametrize(
    ("settings", "namespace", "said"),
    [
        ({"task_ack_late": True}, None, "task_ack_late: there is no setting of this name; did you mean task_acks_late?"),
        ({"CELERYD_CONCURENCY": 3}, None, "did you mean CELERYD_CONCURRENCY?"),
        ({"CELERY_TASK_ACK_LATE": True}, "CELERY", "did you mean CELERY_TASK_ACKS_LATE?"),
    ],
)
def test_a_slip_is_named(make_app: Callable[..., Celery], settings: Any, namespace: str | None, said: str) -> None:
    app = make_app()
    app.config_from_object(settings, namespace=namespace)
    (line,) = slips(app.conf)
    assert said in line


def test_a_projects_own_settings_are_its_own(make_app: Callable[..., Celery]) -> None:
    app = make_app(ONCE={"backend": "x"}, my_setting=3)
    app.config_from_object({"TASK_ACK_LATE": 1, "CELERY_TASK_ACKS_LATE": True, "DATABASES": {}}, namespace="CELERY")
    assert list(slips(app.conf)) == []


def test_an_object_may_name_what_it_has_not_got(make_app: Callable[..., Celery]) -> None:
    """As Django's settings do after ``settings.configure()``; Celery's worker starts with them."""

    class Configured:
        CELERY_TASK_ACKS_LATE = True

        def __dir__(self) -> list[str]:
            return ["CELERY_TASK_ACKS_LATE", "CELERY_NOWHERE", "gettext_noop"]

    app = make_app()
    app.config_from_object(Configured(), namespace="CELERY")
    assert list(remarks(app.conf)) == []
    assert {"gettext_noop", "CELERY_NOWHERE", "nowhere"}.isdisjoint(app.conf)
    assert dict(app.conf)["task_acks_late"] is True


def test_what_stands_beside_its_right_name_is_no_slip(make_app: Callable[..., Celery]) -> None:
    assert list(slips(make_app(task_acks_late=True, task_ack_late=True).conf)) == []


def test_the_broker_by_its_parts(make_app: Callable[..., Celery]) -> None:
    # Celery 5.7: the URL's key beats broker_user; broker_host is the broker where no URL is set.
    def connection(**settings: Any) -> Any:
        return read_transport(Celery("x", set_as_current=False, **settings).conf).connection

    found = connection(broker_transport="sqs", broker_user="K", broker_password="S/x")
    assert (found.access_key_id, found.secret_access_key, found.endpoint_url) == ("K", "S/x", None)
    found = connection(broker_url="sqs://A:B@h:99", broker_user="K", broker_password="S", broker_port=77)
    assert (found.access_key_id, found.secret_access_key, found.endpoint_url) == ("A", "B", "http://h:99")
    found = connection(broker_host="h", broker_transport="sqs", broker_port=77)
    assert found.endpoint_url == "http://h:77"
    assert connection(broker_url=["sqs://A:B@"]).access_key_id == "A"
    with pytest.raises(ImproperlyConfigured, match="redis"):
        connection(broker_transport="redis")
