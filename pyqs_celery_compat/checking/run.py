"""The way through a whole check: files, then modules, then what they say together.

Owns: ``check``. Runs in the process of ``pyqs check``. Reads files; imports nothing of the user's, except with ``app``, in a
short-lived process of its own.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyqs.errors import ConfigError
from pyqs_celery_compat.checking import app_side, command_lines, reading
from pyqs_celery_compat.checking.across import across
from pyqs_celery_compat.checking.bindings import Kind, Scope
from pyqs_celery_compat.checking.collected import Collected, Place
from pyqs_celery_compat.checking.findings import Finding, look
from pyqs_celery_compat.checking.kinds import Project
from pyqs_celery_compat.checking.uses import Uses

#: The version of what ``check`` answers.
SCHEMA = 1


def check(
    paths: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    grace: float | None = None,
    app: str | None = None,
    include: tuple[str, ...] = (),
    directory: str = ".",
) -> dict[str, Any]:
    """Check a codebase, an app, or both.

    Parameters:
        paths: files and directories; none with an app means the app alone.
        exclude: patterns of files and directories to leave out.
        grace: seconds from SIGTERM to SIGKILL where the workers run.
        app, include, directory: as for a worker; ``directory`` is what paths are shown relative to.

    Returns:
        ``{version, files, findings, queues, notes}``: findings in the order of their places, as ``Finding.as_json``.

    Raises:
        ConfigError: a path does not exist, or there is no Python file below the paths.
        BootFailed: the app does not import.
    """
    found = Collected()
    count, silenced = 0, dict[str, frozenset[int]]()
    if paths:
        count, silenced = _read(paths, exclude, directory, found)
    facts: Mapping[str, Any] | None = None
    if app:
        facts = app_side.judge(app, include, directory, found, has_source=bool(paths))
    across(found, grace, None if facts is None else facts["tasks"])
    findings = sorted({one for one in found.findings if one.line not in silenced.get(one.path, ())}, key=Finding.order)
    return {
        "version": SCHEMA,
        "files": count,
        "findings": [one.as_json() for one in findings],
        "queues": {name: place._asdict() for name, place in sorted(found.queues.items())},
        "notes": [] if app else ["without -A the values that a program computes are not known"],
    }


def _read(
    paths: Sequence[str], exclude: Sequence[str], directory: str, found: Collected
) -> tuple[int, dict[str, frozenset[int]]]:
    """All of the files: how many Python files there are, and which lines are silenced."""
    roots = [Path(one) for one in paths]
    for root in roots:
        if not root.exists():
            raise ConfigError(f"there is no {str(root)!r}")
    count, sources = 0, []
    tops: dict[Path, Path] = {}
    for root, path in reading.files(roots, exclude):
        is_python = path.suffix == ".py"
        count += is_python
        content = reading.bytes_of(path)
        shown = os.path.relpath(path, directory).replace(os.sep, "/")
        if content is None:
            if is_python:
                found.say(Place(shown, 1, 1), "syntax", "the file", look("it is too large, or may not be read"))
            continue
        if is_python and reading.mentions(content):
            top = tops.get(root) or tops.setdefault(root, reading.import_root(root))
            sources.append(reading.read(top, path, content, shown))
        elif not is_python and command_lines.may_hold(path.name, content):
            command_lines.check(shown, content, found)
    if not count:
        raise ConfigError(f"there is no Python file in {', '.join(paths)}")
    for source in sources:
        if source.problem is not None:
            place = Place(source.path, source.problem.line, source.problem.column)
            found.say(place, "syntax", "the file", look(f"the Python of this check cannot read it: {source.problem.reason}"))
    project = Project(sources)
    for scope in project.scopes:
        _survey(project, scope, found)
    for scope in project.scopes:
        try:
            Uses(project, scope, found).run()
        except RecursionError:  # of an expression with thousands of parts
            found.say(Place(scope.source.path, 1, 1), "syntax", "the file", look("it is nested too deeply to be read"))
    return count, {source.path: source.silenced for source in sources if source.silenced}


def _survey(project: Project, scope: Scope, found: Collected) -> None:
    """What must be known before anything is judged: registered serializers, namespaces, and what is a configuration."""
    assert scope.source.tree is not None
    if not any(word in scope.source.text for word in ("config_from_object", "register")):
        return
    for node in ast.walk(scope.source.tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "config_from_object":
            _configured(project, scope, node, found)
        elif isinstance(first, ast.Constant) and isinstance(first.value, str) and len(node.args) > 1:
            kind = project.kind(node.func, scope)
            if kind in (Kind("name", "kombu.serialization.register"), Kind("name", "kombu.serialization.registry.register")):
                found.registered.add(first.value)


def _configured(project: Project, scope: Scope, node: ast.Call, found: Collected) -> None:
    """``app.config_from_object(where, namespace="X")``."""
    namespace = next((word.value for word in node.keywords if word.arg == "namespace"), None)
    if isinstance(namespace, ast.Constant) and isinstance(namespace.value, str) and namespace.value:
        found.namespaces.add(namespace.value.rstrip("_"))
        return
    first = node.args[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        found.sources.add(first.value)
    elif isinstance(first, (ast.Name, ast.Attribute)):
        kind = project.kind(first, scope)
        found.sources.add(kind.name if kind is not None and kind.what == "module" else ast.unparse(first))
