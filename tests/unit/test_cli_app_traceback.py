"""What a person sees of an app that does not import: its own frames only."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pyqs.errors import BootFailed, ConfigError, app_traceback


def raised_by_importing(name: str) -> BaseException:
    with pytest.raises(BaseException) as caught:
        importlib.import_module(name)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_importlibs_frames_are_left_out(folder: Path) -> None:
    (folder / "broken_one.py").write_text("import broken_two\n")
    (folder / "broken_two.py").write_text("def f():\n    raise RuntimeError('on fire')\nf()\n")
    exc = raised_by_importing("broken_one")
    # the frame of this test is neither ours nor importlib's, so it is cut off here as the import of an executor would be
    assert exc.__traceback__ is not None
    text = app_traceback(exc.with_traceback(exc.__traceback__.tb_next))
    lines = [line for line in text.splitlines() if line.startswith("  File")]
    assert "broken_one.py" in lines[0]
    assert "broken_two.py" in lines[-1]
    assert text.endswith("RuntimeError: on fire\n")
    sys.modules.pop("broken_one", None)


def test_a_syntax_error_keeps_its_place(folder: Path) -> None:
    (folder / "broken_syntax.py").write_text("x = (\n")
    text = app_traceback(raised_by_importing("broken_syntax"))
    assert "broken_syntax.py" in text
    assert "SyntaxError" in text


def test_an_error_of_ours_has_the_traceback_of_its_cause() -> None:
    assert app_traceback(ConfigError("unknown content type")) == ""
    try:
        try:
            raise ValueError("the app's")
        except ValueError as cause:
            raise BootFailed("module x does not load") from cause
    except BootFailed as error:
        text = app_traceback(error)
    assert text.endswith("ValueError: the app's\n")
    assert "BootFailed" not in text


def test_what_has_no_traceback_is_one_line() -> None:
    assert app_traceback(SystemExit("no settings")) == "SystemExit: no settings\n"
