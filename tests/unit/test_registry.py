"""Which task a name leads to, and which module may be imported for it, decided before a line of it runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyqs.errors import UnknownTask
from pyqs.import_policy import ImportPolicy
from pyqs.registry import Registry, registry

MODULE = "from pyqs import task\n@task\ndef send(): ...\ndef plain(): ...\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a module into the working directory, which is on the path as in an executor; leaves none loaded."""
    root = tmp_path / "work"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    before = set(sys.modules)

    def write(name: str, code: str = MODULE) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        importlib.invalidate_caches()
        return root

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_registry_finds_by_name_and_replaces() -> None:
    tasks = Registry()
    tasks.register("b", 1)
    tasks.register("a", 2)
    tasks.register("b", 3)
    assert (tasks.get("b"), tasks.get("c"), tasks.names()) == (3, None, ("a", "b"))


def test_a_registered_name_needs_no_module(tmp_path: Path) -> None:
    tasks = Registry()
    tasks.register("anything at all", 1)
    assert ImportPolicy((), tmp_path).find("anything at all", tasks) == 1


@pytest.mark.parametrize(
    "place", ["ours_a.py", "ours_b/__init__.py", "ours_c/inner/tasks.py", "ours_d/__init__.py:ours_d/tasks.py"]
)
def test_a_module_of_the_working_directory_is_imported(write: Callable[..., Path], place: str) -> None:
    for file in place.split(":"):
        root = write(file)
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert name not in sys.modules
    found = ImportPolicy((), root).find(f"{name}.send", registry)
    assert found.__module__ == name
    assert name in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "def send(): ...",  # not decorated
        "send = 5",
        "from os import system as send",
        "async def send(): ...",
        "import sys\nsys.exit('run')",
        "def other():\n    return 'send'",
    ],
)
def test_a_script_that_makes_no_such_task_is_not_run(write: Callable[..., Path], code: str) -> None:
    root = write("ours_script.py", code)
    with pytest.raises(UnknownTask, match="decorates no function of this name"):
        ImportPolicy((), root).find("ours_script.send", registry)
    assert "ours_script" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "from pyqs import task\nsend = task()(lambda: None)",
        "from pyqs import task\nif True:\n    @task\n    def send(): ...",
        "from pyqs import task\n@task\nasync def send(): ...",
        "from pyqs import task\n@task(custom_function_path='ours_other.send')\ndef differently(): ...",
        "from pyqs.registry import registry\nclass send: ...\nregistry.register('ours_other.send', send)",
    ],
)
def test_other_ways_to_make_a_task_are_seen(write: Callable[..., Path], code: str) -> None:
    root = write("ours_other.py", code)
    policy = ImportPolicy((), root)
    assert policy.refusal("ours_other", "send") == ""


def test_a_module_that_registers_another_name_says_so(write: Callable[..., Path]) -> None:
    root = write("ours_wrong.py", "def same(f): return f\n@same\ndef send(): ...")
    with pytest.raises(UnknownTask, match="ours_wrong registers no task of this name"):
        ImportPolicy((), root).find("ours_wrong.send", registry)


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('secret')", "raise SystemExit", "raise KeyboardInterrupt", "import nowhere"]
)
def test_a_module_that_does_not_load_is_an_unknown_task_and_logged_once(
    write: Callable[..., Path], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("ours_broken.py", f"def t(f): return f\n@t\ndef send(): ...\n{code}")
    policy = ImportPolicy((), root)
    for _ in range(2):
        with pytest.raises(UnknownTask, match="importing ours_broken raised") as caught:
            policy.find("ours_broken.send", registry)
        assert "secret" not in str(caught.value)
    assert len(caplog.records) == 1


NAMES = """
    antigravity.x this.x pip.x pip._internal.main os.system builtins.eval sys.exit posix.system lib2to3.pgen2.driver pytest.main
    pyqs.main.main setuptools.setup venv.x __main__.x ours.__main__.x ours.__init__.x ours..x .x x . ours.send. ours.class.x
    ours/x.y ../ours.x ours-x.y ours.send.__globals__
"""


@pytest.mark.parametrize("name", ["", *NAMES.split(), "ours.x\n", "\u00f6urs x.y"])
def test_what_is_not_the_apps_is_refused_without_importing_anything(write: Callable[..., Path], name: str) -> None:
    root = write("ours/__init__.py")
    write("ours/__main__.py", "raise SystemExit")
    before = set(sys.modules)
    with pytest.raises(UnknownTask):
        ImportPolicy((), root).find(name, Registry())
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "place", ["env/lib/python3.11/site-packages/thing.py", "site-packages/thing.py", "dist-packages/thing.py"]
)
def test_installed_packages_under_the_working_directory_are_not_the_apps(
    write: Callable[..., Path], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(place)
    monkeypatch.syspath_prepend(str((root / place).parent))
    assert "no module of the working directory" in ImportPolicy((), root).refusal("thing", "send")


def test_a_virtual_environment_under_the_working_directory_is_not_the_apps(write: Callable[..., Path]) -> None:
    root = write("env/tool.py")
    assert ImportPolicy((), root).refusal("env.tool", "send") == ""
    write("env/pyvenv.cfg", "home = /usr/bin")
    assert "no module of the working directory" in ImportPolicy((), root).refusal("env.tool", "send")


def test_the_root_directory_is_no_working_directory(write: Callable[..., Path]) -> None:
    write("ours_root.py")
    assert ImportPolicy((), "/").refusal("ours_root", "send")


def test_the_module_that_an_import_would_find_decides(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write("ours_twice.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ours_twice.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert ImportPolicy((), root).refusal("ours_twice", "send")


def test_a_package_that_is_loaded_from_elsewhere_is_not_the_apps(write: Callable[..., Path]) -> None:
    root = write("email/tasks.py")
    import email

    assert email
    assert ImportPolicy((), root).refusal("email.tasks", "send")


def test_a_package_with_the_name_of_an_unused_python_module_is_the_apps(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write("wsgiref/__init__.py", "")
    write("wsgiref/tasks.py")
    for name in [name for name in sys.modules if name.split(".")[0] == "wsgiref"]:
        monkeypatch.delitem(sys.modules, name)
    assert ImportPolicy((), root).refusal("wsgiref.tasks", "send") == ""


def test_a_linked_folder_is_the_apps_unless_it_is_an_installation(write: Callable[..., Path], tmp_path: Path) -> None:
    root = write("ours.py")
    for name in ("shared", "site-packages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs.py").write_text(MODULE)
    (root / "linked").symlink_to(tmp_path / "shared")
    (root / "packages").symlink_to(tmp_path / "site-packages")
    policy = ImportPolicy((), root)
    assert policy.refusal("linked.jobs", "send") == ""
    assert policy.refusal("packages.jobs", "send")


def test_what_is_included_is_allowed_wherever_it_lies_and_its_submodules(tmp_path: Path) -> None:
    policy = ImportPolicy(("antigravity", "json"), tmp_path)
    assert policy.refusal("antigravity", "x") == ""
    assert policy.refusal("json.tool", "x") == ""
    assert policy.refusal("jsonschema", "x")


def test_a_loaded_module_without_the_task_is_not_looked_at_again(write: Callable[..., Path]) -> None:
    root = write("ours_loaded.py", "n = 1")
    importlib.import_module("ours_loaded")
    assert "is loaded and registers no task" in ImportPolicy((), root).refusal("ours_loaded", "send")


def test_source_that_is_no_python_is_left_to_the_import(write: Callable[..., Path]) -> None:
    root = write("ours_syntax.py", "def broken(:")
    with pytest.raises(UnknownTask, match="SyntaxError"):
        ImportPolicy((), root).find("ours_syntax.send", registry)
