"""What must pass of Celery's own files: floors, exceptions, and the verdict on a run."""

from __future__ import annotations

from pathlib import Path

import pytest

import demands
from demands import DEMANDS, Demand, Exemption
from rule import Function

DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"
THREE = [Function("test_X.test_a", ()), Function("test_X.test_b", ()), Function("test_X.test_c", ("patches celery.x",))]
PASSED = {"test_X.test_a": "", "test_X.test_b": ""}


def exempt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "exceptions.txt").write_text(text)
    monkeypatch.setattr(demands, "EXCEPTIONS", tmp_path / "exceptions.txt")


def test_every_exception_can_be_read_and_stands_in_the_list_of_differences() -> None:
    known = {demand.name for demand in DEMANDS}
    text = DIFFERENCES.read_text()
    for one in demands.exemptions(demands.EXCEPTIONS.read_text()):
        assert one.file in known
        assert f"`{one.file}::{one.test.replace('.', '::')}`" in text


def test_a_part_of_a_test_is_a_test() -> None:
    assert Demand("x", percent=98).needed(17) == 17
    assert Demand("x", percent=98).needed(137) == 135
    assert Demand("x", percent=95).needed(9) == 9
    assert Demand("x", percent=98).needed(50) == 49
    assert Demand("x", floor=88).needed(97) == 88


def test_what_the_rule_leaves_has_to_pass() -> None:
    result = demands.judge(Demand("x", percent=95), THREE, PASSED, genuine=False)
    assert (result.functions, result.left_out, result.needed, result.missing, result.good) == (3, 1, 2, 0, True)


def test_a_whole_file_and_genuine_celery_have_no_rule() -> None:
    whole = demands.judge(Demand("x", whole=True, percent=98), THREE, PASSED, genuine=False)
    genuine = demands.judge(Demand("x", percent=0), THREE, PASSED, genuine=True)
    assert [(one.left_out, one.needed, one.missing) for one in (whole, genuine)] == [(0, 3, 1)] * 2
    assert whole.failed == {"test_X.test_c": "did not run"}


def test_what_the_file_skips_is_no_part_of_a_percentage() -> None:
    result = demands.judge(Demand("x", percent=95), THREE, {**PASSED, "test_X.test_b": "skip"}, genuine=False)
    assert (result.passed, result.skipped, result.needed, result.good) == (["test_X.test_a"], ["test_X.test_b"], 1, True)


def test_a_file_that_cannot_be_imported_has_passed_nothing() -> None:
    result = demands.judge(Demand("x", floor=2), THREE, {}, genuine=False, error="ImportError: x")
    assert (len(result.passed), len(result.failed), result.missing, result.good) == (0, 2, 2, False)


def test_a_test_that_differs_counts_neither_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exempt(monkeypatch, tmp_path, "# why\n\ndiffers: x::test_X::test_b SQS has none\ndiffers: y::test_a another file\n")
    result = demands.judge(Demand("x", percent=95), THREE, {"test_X.test_a": "", "test_X.test_b": "no"}, genuine=False)
    assert (result.differs, result.needed, result.failed, result.good) == (1, 1, {}, True)
    stale = demands.judge(Demand("x", percent=95), THREE, PASSED, genuine=False)
    assert (stale.stale, stale.good) == (["test_X.test_b"], False)


@pytest.mark.parametrize("line", ["differs: x::test_a", "x::test_a why", "differs: test_a why", "differs:x::test_a why"])
def test_an_exception_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=line):
        demands.exemptions(line)


@pytest.mark.parametrize(
    ("demand", "tests", "said"),
    [
        (Demand("x", percent=95), ["test_X.test_c"], "test_X.test_c is said to differ, but the rule leaves it out"),
        (Demand("x", percent=95), ["test_X.test_d"], "x defines no test_X.test_d, which is said to differ"),
        (Demand("x", whole=True), ["test_X.test_a"], "x is taken whole: no exceptions"),
        (Demand("x", percent=95), ["test_X.test_a"] * 11, "x has 11 exceptions, 10 are allowed"),
    ],
)
def test_exceptions_have_limits(demand: Demand, tests: list[str], said: str) -> None:
    assert demands.objections(demand, THREE, [Exemption("x", test, "why") for test in tests]) == [said]


def test_the_files_and_floors_are_those_of_the_issues() -> None:
    assert {one.name: one.floor for one in DEMANDS if one.floor} == {
        "tasks/test_tasks": 88,
        "app/test_app": 100,
        "app/test_amqp": 72,
        "app/test_log": 22,
        "tasks/test_canvas": 220,
        "tasks/test_result": 80,
        "backends/test_base": 75,
        "tasks/test_chord": 7,
        "tasks/test_stamping": 10,
        "contrib/test_worker": 3,
        "contrib/test_manager": 3,
        "contrib/test_pytest": 1,
        "app/test_beat": 40,
    }
    assert [one.percent for one in DEMANDS if one.whole] == [98] * 10
    assert [one.percent for one in DEMANDS if not (one.whole or one.floor)] == [95] * 4
