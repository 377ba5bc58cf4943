"""The shape of the code, held by reading it: which module may import which, how long a module and a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pyqs", "pyqs_celery_compat")

#: Imports point down this list only (docs/architecture.md). A package stands for all of its modules.
LAYERS = [
    {"pyqs.errors", "pyqs.clock", "pyqs.value", "pyqs.coroutine_steps", "pyqs.coroutines"},
    {"pyqs.config", "pyqs.message", "pyqs.primitives", "pyqs.wire"},
    {"pyqs.codec", "pyqs.backoff", "pyqs.raw", "pyqs.registry", "pyqs.import_policy", "pyqs.events", "pyqs.log_fields"},
    {"pyqs.log_json"},
    {"pyqs.logs"},
    {"pyqs.interruption", "pyqs.task_options", "pyqs.start_note", "pyqs.called_off", "pyqs.pointers"},
    {"pyqs.runtime"},
    {"pyqs.sqs", "pyqs.queues"},
    {"pyqs.bulk"},
    {"pyqs.payloads"},
    {"pyqs.native", "pyqs.producer"},
    {"pyqs.tasks", "pyqs.django"},
    {"pyqs.local", "pyqs.executor"},
    {"pyqs.worker"},
    {"pyqs.aws_lambda", "pyqs.cli", "pyqs.commands", "pyqs.demo", "pyqs.main", "pyqs.__main__"},
    {"pyqs.testing"},
]
#: The only modules of the compat package that may know the engine beyond its errors and values.
#: ``in_process`` is for tests, and no other imports it but what Celery has for tests.
DOORS = {
    f"pyqs_celery_compat.{name}" for name in ("aws_lambda", "conf", "in_process", "publisher", "runtime", "prepared", "program")
}
#: ``pyqs.coroutines`` stands alone: it knows nothing of the engine, and there is one event loop to a process.
VALUES = {"pyqs.errors", "pyqs.message", "pyqs.value", "pyqs.clock", "pyqs.coroutines"}
#: Paths that Celery has, which are kept, whatever they are called.
CELERYS_NAMES = {"pyqs_celery_compat.utils", "pyqs_celery_compat.app.utils"}
#: kombu serves its serializers only; Celery itself is never imported.
FOREIGN = ("kombu.transport", "kombu.connection", "celery", "billiard")


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            yield ".".join(parts), path


ALL = dict(modules())


def imported(path: Path) -> set[str]:
    """Every module named by an import statement anywhere in the file, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                names.add(full if full in ALL else base)
    return names


def layer(module: str) -> int | None:
    for index, members in enumerate(LAYERS):
        if any(module == m or module.startswith(m + ".") for m in members):
            return index
    return None


@pytest.mark.parametrize("module", [m for m in ALL if m.startswith("pyqs.")])
def test_engine_imports_point_down(module: str) -> None:
    own = layer(module)
    assert own is not None, f"{module} has no place in LAYERS"
    for name in imported(ALL[module]):
        if name.startswith("pyqs."):
            other = layer(name)
            assert other is not None, f"{name} has no place in LAYERS"
            assert other <= own, f"{module} imports {name}, which is above it"


def test_the_engine_names_the_compat_package_only_as_a_string() -> None:
    for module, path in ALL.items():
        if module.split(".")[0] == "pyqs":
            assert not any(name.split(".")[0] == "pyqs_celery_compat" for name in imported(path)), module


def test_the_executor_knows_neither_the_worker_nor_sqs() -> None:
    for module, path in ALL.items():
        if module.startswith("pyqs.executor"):
            for name in imported(path):
                assert not name.startswith(("pyqs.worker", "pyqs.sqs", "pyqs.producer")), f"{module} imports {name}"


def test_the_compat_package_enters_the_engine_through_its_doors() -> None:
    for module, path in ALL.items():
        if module.startswith("pyqs_celery_compat") and module not in DOORS:
            for name in imported(path):
                if name == "pyqs" or name.startswith("pyqs."):
                    assert name in VALUES, f"{module} imports {name}; only {sorted(DOORS)} may"


def test_nothing_but_tests_loads_what_is_for_tests() -> None:
    for module, path in ALL.items():
        for name in imported(path):
            if name.startswith("pyqs.testing"):
                assert module.startswith("pyqs.testing") or module == "pyqs_celery_compat.in_process", (
                    f"{module} imports {name}"
                )
            if name == "pyqs_celery_compat.in_process":
                assert module == "pyqs_celery_compat.contrib.testing.worker", f"{module} imports {name}"


def test_only_sqs_and_stores_of_aws_import_boto() -> None:
    for module, path in ALL.items():
        heavy = {name.split(".")[0] for name in imported(path)} & {"boto3", "botocore"}
        stores = ("pyqs.payloads", "pyqs_celery_compat.backends.dynamodb", "pyqs_celery_compat.backends.s3")
        assert not heavy or module == "pyqs.sqs" or module.startswith("pyqs.sqs.") or module in stores, (
            f"{module} imports {heavy}"
        )


def test_nothing_imports_a_kombu_transport() -> None:
    for module, path in ALL.items():
        for name in imported(path):
            assert not name.startswith(FOREIGN), f"{module} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(package: str) -> None:
    code = f"import sys, {package}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert not {"boto3", "botocore", "kombu", "rich", "multiprocessing", "sqlite3"} & set(out)


@pytest.mark.parametrize("module", list(ALL))
def test_size(module: str) -> None:
    source = ALL[module].read_text()
    assert len(source.splitlines()) <= 450, f"{module} is too long to read at a sitting"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 70, f"{module}.{node.name} has {length} lines"


@pytest.mark.parametrize("module", list(ALL))
def test_every_module_says_what_it_owns(module: str) -> None:
    docstring = ast.get_docstring(ast.parse(ALL[module].read_text()))
    assert docstring, f"{module} has no docstring"
    assert module in CELERYS_NAMES or module.rsplit(".", 1)[-1] not in {"utils", "helpers", "common", "misc"}
