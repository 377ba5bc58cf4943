"""What makes ``.delay`` cheap is never seen: each shortcut gives way as soon as it would say something else."""

from __future__ import annotations

import functools
import inspect
import uuid as stdlib_uuid
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat import Celery, signals
from pyqs_celery_compat.argument_repr import _short_text, _Writer, argument_repr
from pyqs_celery_compat.header import Header
from pyqs_celery_compat.uuids import uuid

Envelope = Callable[..., dict[str, Any]]


def positional_only(a: int, b: int = 0, /, c: int = 0) -> None: ...


def collecting(a: int, *rest: int, **more: int) -> None: ...


def named_only(a: int, *, b: int) -> None: ...


def named_default(a: int, *, b: int = 0) -> None: ...


def plain(a: int, b: int, c: int = 0) -> None: ...


def nothing() -> None: ...


FUNCTIONS = [positional_only, collecting, named_only, named_default, plain, nothing, functools.partial(plain, b=1)]
CALLS: list[tuple[tuple[int, ...], dict[str, int]]] = [
    (tuple(range(count)), dict.fromkeys(names, 0))
    for count in range(5)
    for names in ("", "a", "b", "c", "ab", "bc", "abc", "x")
]


def complaint(check: Callable[..., Any], args: Any, kwargs: Any) -> str:
    """How it refuses these arguments, "" if it takes them."""
    try:
        check(*args, **kwargs)
    except TypeError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: getattr(f, "__name__", "partial"))
@pytest.mark.parametrize("bound", [False, True])
def test_arguments_are_judged_as_inspect_judges_them(function: Any, bound: bool) -> None:
    header = Header(function, bound=bound)
    parameters = list(inspect.signature(function).parameters.values())
    signature = inspect.Signature(parameters[1:] if bound and parameters and parameters[0].kind <= 1 else parameters)
    for args, kwargs in CALLS:
        assert bool(complaint(header, args, kwargs)) == bool(complaint(signature.bind, args, kwargs))


class Text(str):
    def replace(self, *_: Any) -> str:
        return "replaced"


PLAIN = [
    (), [], {}, (1,), (1, 2.5), [True, None], {"a": 1, 2: "x"}, ("it's", "\n"), ("é" * 127,), (float("inf"), -0.0),
]  # fmt: skip
OTHER = [
    ((1,),), [[]], {"a": {}}, (1,) * 9, ("x" * 128,), (2**64,), (10**5000,), (b"x",), {1, 2}, (Text("x"),), 5, "text", None,
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN)
def test_the_short_text_of_plain_arguments_is_the_writers(value: Any) -> None:
    writer = _Writer(1024, 3)
    writer.write(value, 0)
    assert _short_text(value) == argument_repr(value) == "".join(writer.parts)


@pytest.mark.parametrize("value", OTHER, ids=lambda value: type(value).__name__)
def test_other_arguments_are_written_one_by_one(value: Any) -> None:
    assert _short_text(value) is None
    argument_repr(value)


def test_a_short_text_over_the_limit_is_cut() -> None:
    quotes = ("'" * 100,) * 8
    assert len(_short_text(quotes) or "") > 1024
    assert argument_repr(quotes).endswith("...)")
    assert argument_repr((1, 2, 3), 5) == "(1, 2..., ...)"
    assert argument_repr((1,), levels=0) == "(...,)"


def test_a_task_id_is_a_random_uuid() -> None:
    ids = {uuid() for _ in range(200)}
    assert len(ids) == 200
    for one in ids:
        parsed = stdlib_uuid.UUID(one)
        assert (str(parsed), parsed.version, parsed.variant) == (one, 4, stdlib_uuid.RFC_4122)


class Config:
    task_default_queue = "first"


def test_a_setting_is_looked_up_for_each_call(make_app: Callable[..., Celery], envelope: Envelope) -> None:
    app = make_app()
    app.config_from_object(Config)
    try:
        app.send_task("t")
        Config.task_default_queue = "second"
        app.send_task("t")
    finally:
        Config.task_default_queue = "first"
    app.conf.task_default_queue = "third"
    app.send_task("t")
    for queue in ("first", "second", "third"):
        assert envelope(queue)["properties"]["delivery_info"]["routing_key"] == queue


def test_the_names_of_a_setting_follow_the_namespace(make_app: Callable[..., Celery]) -> None:
    app = make_app()
    app.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "spaced", "task_default_queue": "bare"})
    assert app.conf.task_default_queue == "bare"
    app.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "spaced"}, namespace="CELERY")
    assert app.conf.task_default_queue == app.conf["CELERY_TASK_DEFAULT_QUEUE"] == "spaced"


def test_a_configuration_object_may_be_any_mapping(make_app: Callable[..., Celery]) -> None:
    app = make_app()
    app.config_from_object(UserDict(task_default_queue="users"))
    assert app.conf.task_default_queue == "users"
    assert app.conf.task_serializer == "json"


def test_a_default_that_is_a_dict_is_the_apps_own(make_app: Callable[..., Celery]) -> None:
    one, other = make_app(), make_app()
    one.conf.task_publish_retry_policy["max_retries"] = 7
    assert one.conf.task_publish_retry_policy["max_retries"] == 7
    assert other.conf.task_publish_retry_policy["max_retries"] == 3


def test_a_receiver_sees_and_changes_the_retry_policy(app: Celery) -> None:
    asked: list[Any] = []

    def change(retry_policy: Any = None, **_: Any) -> None:
        retry_policy["max_retries"] = 1

    def send(*_: Any, retry_policy: Callable[[], Any], **__: Any) -> None:
        asked.append(retry_policy())

    app.publisher.send = send  # type: ignore[method-assign]
    app.send_task("t", retry_policy={"interval_start": 3})
    signals.before_task_publish.connect(change)
    try:
        app.send_task("t")
        app.send_task("t", retry=False)
    finally:
        signals.before_task_publish.disconnect(change)
    default = {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}
    assert asked == [{**default, "interval_start": 3}, {**default, "max_retries": 1}, None]
