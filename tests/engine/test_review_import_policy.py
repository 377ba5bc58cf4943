"""The working directory's border, where sys.path is written carelessly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyqs.import_policy import ImportPolicy


def test_a_path_that_climbs_out_of_the_working_directory_is_not_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, beside = tmp_path / "project", tmp_path / "beside"
    for folder in (project, beside):
        folder.mkdir()
        (folder / f"of_{folder.name}.py").write_text("@task\ndef run(): pass\n")
    monkeypatch.setattr(sys, "path", [str(project), f"{project}/../beside", *sys.path])
    policy = ImportPolicy((), project)
    assert "no module of the working directory" in policy.refusal("of_beside", "run")
    assert policy.refusal("of_project", "run") == ""
