"""docs/checking.md is true: its commands run, its JSON has the keys that there are, its figures are those of the corpus."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from check_labels import projects
from processes import environment
from pyqs.commands.check import command
from pyqs_celery_compat.checking.findings import Finding, Verdict

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "checking.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("line", block("sh").splitlines())
def test_a_command_runs(line: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "proj.py").write_text("from celery import Celery\n\napp = Celery('proj', broker='sqs://')\n")
    (tmp_path / "src" / "tasks.py").write_text("from proj import app\n\n\n@app.task\ndef one():\n    one.delay()\n")
    env = {**environment("http://127.0.0.1:1"), "PYTHONPATH": str(ROOT)}
    words = shlex.split(line)
    assert words[0] == "pyqs"
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_json_has_the_keys_that_there_are() -> None:
    shown = json.loads(block("json"))
    assert list(shown) == ["version", "files", "findings", "notes", "summary"]
    one = Finding("a", 1, 1, "rule", "use", Verdict.SAME)
    assert list(shown["findings"][0]) == list(one.as_json())
    assert set(shown["summary"]) == {verdict.value for verdict in Verdict}


def test_every_verdict_is_explained() -> None:
    for verdict in Verdict:
        assert f"| `{verdict.value}` |" in TEXT


def test_every_rule_is_explained() -> None:
    said = set()
    for path in (ROOT / "pyqs_celery_compat" / "checking").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called in ("say", "_say"):
                rule = node.args[1]  # type: ignore[attr-defined]
                parts = [rule.body, rule.orelse] if isinstance(rule, ast.IfExp) else [rule]
                said |= {part.value for part in parts if isinstance(part, ast.Constant)}
    assert len(said) > 20
    for rule in said:
        assert f"`{rule}`" in TEXT, rule


def test_every_option_that_it_names_is_there() -> None:
    there = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT)) <= there


def test_the_corpus_has_as_many_labels_as_it_says() -> None:
    labels = sum(len(project.labels) for project in projects())
    assert f"{labels} uses" in TEXT
    assert f"against {labels} uses" in (ROOT / "README.md").read_text()
