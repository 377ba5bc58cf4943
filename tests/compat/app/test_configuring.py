"""How an app comes by its configuration. What is said of Celery was seen on Celery 5.7."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.app.setting_options import Option
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.loaders.app import AppLoader
from pyqs_celery_compat.settings import Settings


@pytest.fixture
def made() -> Celery:
    return Celery("proj", set_as_current=False)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes an importable module."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


# -- where it comes from ----------------------------------------------------------------------------------------------
def test_the_order_of_what_counts(made: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("proj", broker="sqs://ctor", set_as_current=False, worker_concurrency=1)
    app.config_from_object({"broker_url": "sqs://object", "worker_concurrency": 2, "task_default_queue": "object"})
    app.add_defaults({"task_default_queue": "added", "worker_concurrency": 3})
    assert (app.conf.broker_url, app.conf.worker_concurrency, app.conf.task_default_queue) == ("sqs://ctor", 1, "added")
    app.conf.worker_concurrency = 4
    monkeypatch.setenv("CELERY_BROKER_URL", "sqs://env")
    assert (app.conf.broker_url, app.conf.worker_concurrency) == ("sqs://env", 4)


def test_another_configuration_forgets_what_was_written_since_the_first_was_read(made: Celery) -> None:
    made.conf.worker_concurrency = 9
    made.add_defaults({"added": 1})
    made.config_from_object({"task_acks_late": True})
    assert (made.conf.worker_concurrency, made.conf.added, made.conf.task_acks_late) == (9, 1, True)
    made.conf.worker_concurrency = 7
    made.conf.task_default_queue = "q7"
    assert made.config_from_object({"task_track_started": True}) is made.conf
    assert (made.conf.worker_concurrency, made.conf.task_default_queue) == (9, "celery")
    assert (made.conf.task_acks_late, made.conf.task_track_started) == (False, True)
    assert "added" not in made.conf


@pytest.mark.parametrize("path", ["no_such_module", "json:nope", "json.nope"])
def test_a_configuration_that_is_not_there(path: str) -> None:
    app = Celery("proj", set_as_current=False)
    assert app.config_from_object(path) is None
    with pytest.raises(ModuleNotFoundError, match=r"no_such_module|nope"):
        app.conf.worker_concurrency  # noqa: B018
    with pytest.raises(ModuleNotFoundError):  # and again: it is no less missing then
        app.conf.worker_concurrency  # noqa: B018
    app.config_from_object(path, silent=True)
    assert app.conf.worker_concurrency is None
    with pytest.raises(ModuleNotFoundError):
        Celery("proj", set_as_current=False).config_from_object(path, force=True)


def test_from_the_environment(made: Celery, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module("job_config", "worker_concurrency = 3")
    assert made.config_from_envvar("JOB_CONFIG", silent=True) is False
    with pytest.raises(ImproperlyConfigured, match=r"JOB_CONFIG=proj\.celeryconfig"):
        made.config_from_envvar("JOB_CONFIG")
    monkeypatch.setenv("JOB_CONFIG", "job_config")
    assert made.config_from_envvar("JOB_CONFIG") is None
    assert not made.configured
    assert made.config_from_envvar("JOB_CONFIG", force=True) is made.conf
    assert made.conf.worker_concurrency == 3


def test_celery_config_module_is_read_where_nothing_else_was_said(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module("job_config", "worker_concurrency = 3")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "job_config")
    assert Celery("proj", set_as_current=False).conf.worker_concurrency == 3
    app = Celery("proj", set_as_current=False, config_source={"worker_concurrency": 5})
    assert app.conf.worker_concurrency == 5


def test_from_a_command_line(made: Celery) -> None:
    made.config_from_cmdline(
        ["task_always_eager=no", "worker.prefetch_multiplier=3", ".soft=(int)300", "broker_transport_options=(dict){\"a\": 1}"],
        namespace="task",
    )  # fmt: skip
    conf = made.conf
    assert (conf.task_always_eager, conf.worker_prefetch_multiplier, conf.task_soft) == (False, 3, 300)
    assert conf.broker_transport_options == {"a": 1}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("worker_concurency=3", "there is no setting 'worker_concurency'; did you mean worker_concurrency?"),
        ("bogus", "is no setting: namespace.key=value"),
        ("task_always_eager=maybe", "task_always_eager=maybe"),
        ("broker_transport_options=(dict)[1]", "a JSON object is wanted"),
    ],
)
def test_an_argument_that_is_no_setting_is_named(made: Celery, argument: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){said.replace('?', '[?]')}"):
        made.config_from_cmdline([argument])


# -- old and new names --------------------------------------------------------------------------------------------------
def test_names_of_both_kinds_are_an_error_also_where_code_wrote_one(made: Celery) -> None:
    made.conf.update(CELERYD_CONCURRENCY=9, worker_prefetch_multiplier=1)
    with pytest.raises(ImproperlyConfigured, match=r"CELERYD_CONCURRENCY +-> worker_concurrency"):
        made.conf.worker_concurrency  # noqa: B018


@pytest.mark.parametrize("written", [{"worker_concurrency": 1}, {"CELERYD_CONCURRENCY": 1}])
def test_arguments_of_the_app_may_have_names_of_either_kind(written: Any) -> None:
    app = Celery("proj", broker="sqs://", set_as_current=False, **written)
    app.config_from_object({"CELERY_ACKS_LATE": True, "CELERY_TASK_SERIALIZER": "json"})
    assert (app.conf.task_acks_late, app.conf.worker_concurrency) == (True, 1)


def test_in_a_namespace_both_kinds_are_read(made: Celery) -> None:
    made.conf.CELERY_ACKS_LATE = True
    made.config_from_object({"CELERY_WORKER_CONCURRENCY": 3, "CELERYD_CONCURRENCY": 4}, namespace="CELERY")
    assert (made.conf.task_acks_late, made.conf.worker_concurrency) == (True, 3)


def test_an_old_name_written_after_the_reading_is_no_mixture(made: Celery) -> None:
    assert made.conf.worker_concurrency is None
    made.conf.CELERYD_CONCURRENCY = 9
    assert (made.conf.worker_concurrency, made.conf.CELERYD_CONCURRENCY) == (9, 9)


# -- the one reading ----------------------------------------------------------------------------------------------------
def test_no_thread_takes_a_default_for_what_is_about_to_be_read() -> None:
    reading = threading.Event()

    class Slow(AppLoader):
        def config_from_object(self, obj: Any, silent: bool = False) -> bool:
            reading.set()
            time.sleep(0.2)
            return super().config_from_object(obj, silent)

    app = Celery("proj", loader=Slow, set_as_current=False, config_source={"worker_concurrency": 3})
    first = threading.Thread(target=lambda: app.conf.worker_concurrency)
    first.start()
    assert reading.wait(5)
    assert app.conf.worker_concurrency == 3
    first.join()


def test_a_child_that_is_forked_while_a_thread_reads_reads_it_itself() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(AppLoader):
        def config_from_object(self, obj: Any, silent: bool = False) -> bool:
            reading.set()
            go_on.wait(10)
            return super().config_from_object(obj, silent)

    app = Celery("proj", loader=Slow, set_as_current=False, config_source={"worker_concurrency": 3})
    thread = threading.Thread(target=lambda: app.conf.worker_concurrency)
    thread.start()
    assert reading.wait(5)
    child = os.fork()
    if child == 0:
        go_on.set()
        os._exit(app.conf.worker_concurrency)
    deadline = time.monotonic() + 10
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.02)
    go_on.set()
    thread.join()
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (ended[0], os.waitstatus_to_exitcode(ended[1])) == (child, 3)


def test_it_is_read_once_and_told_after_it(made: Celery) -> None:
    seen: list[Any] = []

    @made.on_configure.connect
    def before(sender: Celery, **_: Any) -> None:
        seen.append(sender.configured)
        sender.config_from_object({"worker_concurrency": 11})

    @made.on_after_configure.connect
    def after(sender: Celery, source: Settings, **_: Any) -> None:
        seen.append((sender.configured, source.worker_concurrency, sender.conf.worker_concurrency))
        sender.conf.worker_concurrency = 99

    assert (made.conf.worker_concurrency, made.conf.worker_concurrency) == (99, 99)
    assert seen == [False, (True, 11, 11)]


def test_on_configure_may_be_a_method() -> None:
    class App(Celery):
        def on_configure(self) -> None:
            self.conf.worker_concurrency = 5

    assert App("proj", set_as_current=False).conf.worker_concurrency == 5


def test_an_app_takes_nothing_over_from_a_reading_that_failed(made: Celery) -> None:
    made.config_from_object({"task_acks_late": True, "task_protocol": 3})
    with pytest.raises(ImproperlyConfigured, match="task_protocol must be 1 or 2"):
        made.conf.task_acks_late  # noqa: B018
    assert not made.configured
    made.config_from_object({})
    assert made.conf.task_acks_late is False


# -- the loader ---------------------------------------------------------------------------------------------------------
class Loader(AppLoader):
    def import_default_modules(self) -> list[Any]:
        return []


@pytest.mark.parametrize("loader", [Loader, f"{__name__}:Loader", f"{__name__}.Loader"])
def test_a_loader_of_ones_own(loader: Any) -> None:
    app = Celery("proj", loader=loader, set_as_current=False)
    assert type(app.loader).__name__ == "Loader"
    assert app.loader.app is app


def test_loaders_by_name_and_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(Celery("proj", set_as_current=False).loader) is AppLoader
    assert type(Celery("proj", loader="default", set_as_current=False).loader).__module__.endswith("loaders.default")
    monkeypatch.setenv("CELERY_LOADER", f"{__name__}:Loader")
    assert type(Celery("proj", set_as_current=False).loader).__name__ == "Loader"
    app = Celery("proj", loader="nope:X", set_as_current=False)  # nothing is made before it is needed
    with pytest.raises(ModuleNotFoundError):
        app.loader  # noqa: B018


# -- the schedule -------------------------------------------------------------------------------------------------------
def test_periodic_tasks_wait_for_the_configuration(made: Celery) -> None:
    signature = made.signature("x.add", (1,))
    assert made.add_periodic_task(5, signature, name="one") == "one"
    assert not made.configured
    made.config_from_object({"beat_schedule": {"zero": {"task": "x"}}})
    assert list(made.conf.beat_schedule) == ["zero", "one"]
    made.add_periodic_task(6, signature)
    assert list(made.conf.beat_schedule) == ["zero", "one", "x.add(1)"]


def test_a_periodic_task_without_a_name_that_another_one_hides_is_told(made: Celery, caplog: pytest.LogCaptureFixture) -> None:
    made.conf.worker_concurrency  # noqa: B018 - read
    signature = made.signature("x.add", (1,))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            made.add_periodic_task(5, signature, name="named")
        assert caplog.text == ""
        for _ in range(2):
            made.add_periodic_task(5, signature)
    (record,) = caplog.records
    assert "Periodic task key='x.add(1)' shadowed" in record.getMessage()


# -- settings as libraries read them ------------------------------------------------------------------------------------
def test_settings_by_their_parts(made: Celery) -> None:
    made.conf.worker_concurrency = 3
    found = made.conf.find_option("concurrency", "worker")
    assert found[:2] == ("worker", "concurrency")
    assert isinstance(found.type, Option)
    assert made.conf.find_option("concurrency")[:2] == ("worker", "concurrency")
    assert made.conf.find_value_for_key("concurrency", "worker") == 3
    assert made.conf.find_value_for_key("worker_concurrency") == 3
    with pytest.raises(KeyError):
        made.conf.find_option("nix", "worker")


def test_the_layers_are_there_to_be_looked_at(made: Celery) -> None:
    added, source = {"foo": 1}, {"bar": 2}
    made.add_defaults(lambda: added)
    made.config_from_object(source)
    made.conf.baz = 3
    assert made.conf.defaults[:2] == [added, source]
    assert made.conf.maps[0] == {"baz": 3}
    assert made.either("foo", None, 0, 3) == 0
    assert made.either("foo", None) == 1


# -- the rest of an app -------------------------------------------------------------------------------------------------
def test_a_bug_report_has_versions_and_no_secret() -> None:
    app = Celery("proj", broker="sqs://AK:hush@", set_as_current=False, my_token="hush", worker_concurrency=3)
    text = app.bugreport()
    assert "worker_concurrency: 3" in text
    assert "transport:sqs results:disabled" in text
    assert f"py:{sys.version.split()[0]}" in text
    assert "hush" not in text


def test_a_registry_and_other_parts_of_ones_own(made: Celery) -> None:
    from pyqs_celery_compat.app.amqp import AMQP
    from pyqs_celery_compat.app.registry import TaskRegistry

    class Registry(TaskRegistry):
        pass

    class OwnAmqp(AMQP):
        pass

    class App(Celery):
        registry_cls = Registry

    app = App("proj", amqp=OwnAmqp, set_as_current=False)
    assert type(app.tasks) is Registry
    assert type(app.amqp) is OwnAmqp
    assert Celery("other", tasks=app.tasks, set_as_current=False).tasks is app.tasks
    App.registry_cls = "pyqs_celery_compat.app.registry:TaskRegistry"  # type: ignore[assignment]
    assert type(App("proj", set_as_current=False).tasks) is TaskRegistry


def test_classes_of_an_app_know_it(made: Celery) -> None:
    class Thing:
        "A thing."

        def __init__(self, number: int = 0) -> None:
            self.number = number

    own = made.subclass_with_self(Thing, name="Own", attribute="proj", more=3)
    assert (own.__name__, own.proj, own.more, own.__doc__, own(5).number) == ("Own", made, 3, "A thing.", 5)
    assert made.Worker.app is made


def test_signed_messages_are_refused_with_what_to_do(made: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="IAM policy"):
        made.setup_security(["json"])


def test_the_timezone_and_utc(made: Celery) -> None:
    assert made.uses_utc_timezone()
    made.conf.timezone = "US/Eastern"
    del made.timezone
    del made.timezone  # that there is none to forget is no error, as in Celery
    assert not made.uses_utc_timezone()
    assert made.now().tzinfo == made.timezone


def test_two_tasks_of_one_name_are_told_to_who_wrote_the_second(made: Celery) -> None:
    from pyqs_celery_compat.exceptions import DuplicateTaskNameWarning

    def declare(factor: int) -> Any:
        @made.task(name="scale", shared=False)
        def scale(x: int) -> int:
            return x * factor

        return scale

    with pytest.warns(DuplicateTaskNameWarning, match=r"'scale' is used by two functions: .*declare.*scale") as told:
        assert declare(2).name == declare(3).name == declare(4).name
    assert [warning.filename for warning in told] == [__file__]
    assert made.tasks["scale"](2) == 4


def test_a_class_that_takes_a_name_over_is_told(made: Celery, recwarn: pytest.WarningsRecorder) -> None:
    class First(made.Task):  # type: ignore[misc, name-defined]
        name = "taken"

        def run(self) -> int:
            return 1

    class Second(First):
        def run(self) -> int:
            return 2

    made.register_task(First())
    made.register_task(First())
    assert not recwarn.list
    made.register_task(Second())
    assert "was replaced by" in str(recwarn.list[0].message)
    assert recwarn.list[0].filename == __file__
    assert made.tasks["taken"].run() == 2


def test_a_shared_task_may_wrap_an_apps_task_and_not_itself(app: Celery) -> None:
    from pyqs_celery_compat import shared_task

    app.conf.task_always_eager = True

    @shared_task
    @app.task
    def mul(x: int, y: int) -> int:
        return x * y

    assert mul.apply((2, 3)).result == 6
    with pytest.raises(TypeError, match="more than once"):

        @shared_task
        @shared_task
        def twice() -> None: ...
