"""What ``nox -s libraries`` makes of two runs of a library's tests."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1] / "libraries"
REPORT = """<testsuites><testsuite>
<testcase classname="a.b.TestOne" name="test_passes"/>
<testcase classname="a.b.TestOne" name="test_breaks"><failure message="no"/></testcase>
<testcase classname="a.b.TestOne" name="test_ends_badly"/>
<testcase classname="a.b.TestOne" name="test_ends_badly"><error message="teardown"/></testcase>
<testcase classname="a.b" name="test_waits[1]"><skipped/></testcase>
<testcase classname="" name="a.unimportable"><error/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("libraries_run", HERE / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "libraries_run", module)
        spec.loader.exec_module(module)
        yield module


def test_a_report_is_read(run: Any) -> None:
    assert run.read(REPORT) == {
        "TestOne::test_passes": "passed",
        "TestOne::test_breaks": "failed",
        "TestOne::test_ends_badly": "failed",
        "b::test_waits[1]": "skipped",
        "::a.unimportable": "failed",
    }


def test_what_ends_apart_must_be_listed_and_what_is_listed_must_end_apart(run: Any) -> None:
    known = run.listed("# a remark\n\none x::a why it is so\ntwo x::b another\n", "one")
    assert known == {"x::a": "why it is so"}
    celery = {"x::a": "passed", "x::b": "passed", "x::c": "failed"}
    assert run.objections(celery, celery | {"x::a": "failed"}, known) == []
    assert run.objections(celery, celery, known) == ["is listed, and does not differ: x::a"]
    assert run.objections(celery, {"x::a": "failed", "x::c": "failed"}, known) == [
        "differs, and is not listed: x::b: passed under Celery, not run here"
    ]
    assert run.objections({"x::b": "skipped"}, {"x::b": "skipped"}, {})[0].startswith("no test passes under Celery")


def test_every_listed_line_is_of_a_library_that_is_run_and_has_a_reason(run: Any) -> None:
    names = {library.name for library in run.LIBRARIES}
    for line in run.DIFFERS.read_text().splitlines():
        if not line.startswith("#"):
            name, test, reason = line.split(" ", 2)
            assert name in names
            assert "::" in test
            assert len(reason) > 20


def test_what_is_run_is_what_is_installed_and_documented(run: Any) -> None:
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", (HERE / "requirements.txt").read_text(), re.MULTILINE))
    documented = (HERE.parents[1] / "docs" / "libraries.md").read_text()
    for library in run.LIBRARIES:
        assert pins[library.name] == library.version
        assert f"| {library.name} {library.version} |" in documented
        assert bool(library.tests) == bool(library.sha256)
        assert library.tests or library.examples
        assert not library.examples or (HERE / "examples" / library.examples).exists()
