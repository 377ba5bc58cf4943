"""docs/testing.md is true: its examples pass, each section's as a suite of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = {
    title: re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    for title, text in (part.split("\n", 1) for part in (ROOT / "docs" / "testing.md").read_text().split("\n## ")[1:])
}


def test_every_example_belongs_to_a_file() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    assert text.count("```python") == sum(map(len, SECTIONS.values()))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("title", "tests"), [("A Celery suite", 1), ("Native tasks", 4), ("Celery tasks, only enqueued", 1)])
def test_a_sections_examples_pass(title: str, tests: int, tmp_path: Path) -> None:
    for name, code in SECTIONS[title]:
        (tmp_path / name).write_text(code)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
