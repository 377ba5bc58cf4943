"""The rules are true of this checkout: what raises, answers nothing or is not there is never called the same."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from pyqs_celery_compat import Celery, aliases, program, signals
from pyqs_celery_compat.app.control import Control, Inspect
from pyqs_celery_compat.app.setting_table import FACTS, Fate
from pyqs_celery_compat.checking import command_lines, names, rules, settings
from pyqs_celery_compat.checking.findings import Verdict
from pyqs_celery_compat.checking.values import UNKNOWN, Value
from pyqs_celery_compat.utils.dispatch import Signal


def here() -> list[str]:
    """Modules of Celery's that this package has and that can be imported here."""
    return sorted(name for name in aliases.MODULES if names.split(name)[0] == name)


def raising(module: str) -> list[str]:
    """The classes of a module that cannot be made: the placeholders."""
    ours = importlib.import_module(str(aliases.ours(module)))
    found = []
    for name, value in vars(ours).items():
        if inspect.isclass(value) and not name.startswith("_") and value.__module__.startswith(("celery", aliases.OURS)):
            try:
                value()
            except NotImplementedError:
                found.append(name)
            except Exception:  # it wants arguments
                continue
    return found


@pytest.mark.parametrize("module", here())
def test_a_class_that_cannot_be_made_is_not_called_the_same(module: str) -> None:
    try:
        placeholders = raising(module)
    except ImportError as exc:
        pytest.skip(str(exc))
    for name in placeholders:
        assert names.judge(f"{module}.{name}").verdict is Verdict.NOT_SUPPORTED, f"{module}.{name}"


def test_there_are_placeholders() -> None:
    assert "TaskPool" in raising("celery.concurrency.prefork")


@pytest.mark.parametrize("module", sorted(aliases.MODULES - set(here())))
def test_a_module_that_is_not_here_is_not_supported(module: str) -> None:
    assert names.judge(module).verdict is Verdict.NOT_SUPPORTED
    assert names.judge(f"{module}.anything").verdict is Verdict.NOT_SUPPORTED


@pytest.mark.parametrize("module", sorted(aliases.REMOVED))
def test_a_module_that_celery_has_removed_is_named_with_what_to_do(module: str) -> None:
    judged = names.judge(f"{module}.anything")
    assert judged.verdict is Verdict.NOT_SUPPORTED
    assert judged.note == aliases.REMOVED[module]


def test_every_name_with_a_rule_is_there() -> None:
    for name in rules.NAMES:
        module, rest = names.split(name)
        assert module is not None, name
        assert not rest or names.has(module, rest), name


def test_a_name_that_is_nowhere_is_not_supported() -> None:
    for name in ("celery.nothing", "celery.utils.nothing", "celery.signals.nothing", "celery.no.such.module"):
        assert names.judge(name).verdict is Verdict.NOT_SUPPORTED, name
    assert names.judge("kombu.nothing").verdict is Verdict.LOOK


@pytest.fixture
def app() -> Celery:
    return Celery("rules", broker="memory://", set_as_current=False)


def test_what_an_app_has_not_yet_is_not_supported(app: Celery) -> None:
    assert not hasattr(app, "no_such_attribute")
    assert names.judge_attribute("app", "no_such_attribute").verdict is Verdict.NOT_SUPPORTED
    for name in ("Worker", "WorkController", "start", "worker_main"):
        assert hasattr(app, name)
        assert names.judge_attribute("app", name).verdict is Verdict.DIFFERENCE, name


def public(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_") and callable(getattr(cls, name))]


@pytest.mark.parametrize("question", [name for name in public(Inspect) if name != "app"])
def test_a_question_that_nobody_answers_is_not_called_the_same(app: Celery, question: str) -> None:
    asked = getattr(app.control.inspect(), question)
    needed = [
        one
        for one in inspect.signature(asked).parameters.values()
        if one.default is one.empty and one.kind != one.VAR_POSITIONAL
    ]
    answered = asked(*("x" for _ in needed)) is not None
    assert answered or names.judge_attribute("inspect", question).verdict is Verdict.NOT_SUPPORTED


@pytest.mark.parametrize("command", [name for name in public(Control) if name not in rules.HEARD and name != "mailbox"])
def test_a_command_that_nobody_hears_is_not_called_the_same(app: Celery, command: str) -> None:
    method = getattr(app.control, command)
    needed = [
        one
        for one in inspect.signature(method).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    assert not method(*("x" for _ in needed))
    assert rules.control(command).verdict is Verdict.NOT_SUPPORTED


def test_every_rule_of_a_signal_is_of_one_and_those_of_the_worker_have_one() -> None:
    there = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(rules.SIGNALS) <= there
    same = there - set(rules.SIGNALS)
    assert same == {
        "after_task_publish", "before_task_publish", "heartbeat_sent", "import_modules", "task_internal_error", "task_postrun",
        "task_prerun", "task_retry", "task_success", "worker_process_init", "worker_process_shutdown",
    }  # fmt: skip


def test_beat_is_here_when_its_schedule_is_kept() -> None:
    """The rules of beat follow the table of settings: who writes beat changes one line there."""
    assert (FACTS["beat_schedule"].fate is Fate.HONOURED) == rules.BEAT
    assert (names.judge("celery.beat").verdict is Verdict.SAME) == rules.BEAT
    assert (settings.judge("beat_schedule", UNKNOWN).verdict is Verdict.SAME) == rules.BEAT


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_setting_is_judged_by_the_table(name: str) -> None:
    """With some value that is not the default, a setting without an effect is never called the same."""
    judged = settings.judge(name, UNKNOWN)
    fate = FACTS[name].fate
    if fate in (Fate.NO_EFFECT, Fate.NAMED):
        assert judged.verdict is Verdict.DIFFERENCE
    elif fate in (Fate.LATER, Fate.REFUSED):
        assert judged.verdict is Verdict.NOT_SUPPORTED
    else:
        assert judged.verdict in (Verdict.SAME, Verdict.LOOK) or judged is rules.SETTINGS[name]


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("broker_url", "sqs://", Verdict.SAME),
        ("broker_url", "sqs://key:secret@", Verdict.SAME),
        ("broker_url", "sqs", Verdict.SAME),
        ("broker_url", ["sqs://"], Verdict.SAME),
        ("broker_url", ["sqs://", "redis://"], Verdict.NOT_SUPPORTED),
        ("broker_url", "amqp://guest:hush@host", Verdict.NOT_SUPPORTED),
        ("broker_url", "memory://", Verdict.DIFFERENCE),
        ("broker_url", "sqs://;sqs://elsewhere", Verdict.NOT_SUPPORTED),
        ("worker_max_memory_per_child", 100_000, Verdict.DIFFERENCE),
        ("task_reject_on_worker_lost", False, Verdict.SAME),
        ("result_backend", "redis://", Verdict.SAME),
        ("result_backend", "db+postgresql://x", Verdict.SAME),
        ("result_backend", "django-db", Verdict.SAME),
        ("result_backend", "disabled://", Verdict.SAME),
        ("result_backend", "rpc://", Verdict.NOT_SUPPORTED),
        ("result_backend", "cache+memcached://x", Verdict.NOT_SUPPORTED),
        ("result_backend", "nonsense://", Verdict.NOT_SUPPORTED),
        ("result_backend", "proj.backends:Own", Verdict.LOOK),
        ("task_serializer", "json", Verdict.SAME),
        ("task_serializer", "pickle", Verdict.DIFFERENCE),
        ("task_serializer", "auth", Verdict.NOT_SUPPORTED),
        ("accept_content", ["json"], Verdict.SAME),
        ("accept_content", "json", Verdict.NOT_SUPPORTED),
        ("accept_content", ["application/x-python-serialize"], Verdict.DIFFERENCE),
        ("worker_pool", "solo", Verdict.SAME),
        ("worker_pool", "eventlet", Verdict.NOT_SUPPORTED),
        ("worker_send_task_events", False, Verdict.SAME),
        ("worker_consumer", None, Verdict.SAME),
        ("task_acks_late", "False", Verdict.NOT_SUPPORTED),
    ],
)
def test_a_value(name: str, value: Any, verdict: Verdict) -> None:
    judged = settings.judge(name, Value(True, value))
    assert judged.verdict is verdict
    assert "hush" not in judged.note
    assert "secret" not in judged.note


ODD = (None, True, 0, -1, 1.5, "", "x", "x://", b"x", [], ["x"], [["x"]], {}, {"x": 1}, {1: None}, object())


@pytest.mark.parametrize("name", sorted(FACTS))
def test_no_value_is_too_odd(name: str) -> None:
    for value in ODD:
        for known in (True, False):
            assert settings.judge(name, Value(known, value)).verdict in Verdict


@pytest.mark.parametrize("option", program.OPTIONS, ids=lambda option: f"{option.command} {option.label}")
def test_an_option_is_judged_by_the_table_of_the_command_line(option: Any) -> None:
    expected = {"works": Verdict.SAME, "no effect": Verdict.DIFFERENCE, "refused": Verdict.NOT_SUPPORTED}[option.fate.value]
    for name in option.names:
        assert command_lines.OPTIONS[option.command, name].verdict is expected


def test_a_command_that_is_refused_is_not_supported() -> None:
    for name in program.COMMANDS:
        refused = name in program.REFUSED
        assert command_lines.COMMANDS[name].verdict is (Verdict.NOT_SUPPORTED if refused else Verdict.DIFFERENCE)
