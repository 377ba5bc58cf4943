"""The alias to the rest of the import system: specs, reloading, ``python -m``, hooks, threads."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

INSTALL = "from pyqs_celery_compat import install_as_celery; install_as_celery()\n"

#: Import hooks as New Relic, wrapt and ddtrace make them: a finder in front that puts a loader around whatever is found, and
#: looks the hook up by the module's name.
HOOKS = """
import sys
from importlib.util import find_spec
told = []
class Around:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        if module.__name__ in WANTED:
            told.append(module.__name__)
            import celery.app.task  # what a hook does: more imports
class Finder:
    asking = set()
    def find_spec(self, name, path=None, target=None):
        if name not in WANTED or name in self.asking:
            return None
        self.asking.add(name)
        try:
            spec = find_spec(name)
            if spec is not None:
                spec.loader = Around(spec.loader)
            return spec
        finally:
            self.asking.discard(name)
WANTED = {"celery", "celery.app.trace", "celery.local", "celery.concurrency.prefork", "billiard.pool"}
def hook():
    sys.meta_path.insert(0, Finder())
"""
USE = """
from celery import Celery
from celery.app import trace
import celery.concurrency.prefork, billiard.pool, celery
from pyqs_celery_compat import publisher
import sys
assert sorted(told) == sorted(WANTED), told
for name in WANTED:
    module = sys.modules[name]
    assert module.__spec__.name == module.__name__ and not module.__name__.startswith("celery"), module
    assert not isinstance(module.__loader__, Around)
"""


@pytest.mark.parametrize("order", ["hook()\n" + INSTALL, INSTALL + "hook()\ntold.append('celery')\n"])
def test_import_hooks_fire_on_celerys_names(alone: Any, order: str) -> None:
    # Where hooks come second, `celery` itself was loaded before: then the tools call the hook at once.
    alone(HOOKS + order + USE)


def test_hooks_fire_whoever_loads_the_module(alone: Any) -> None:
    alone(
        HOOKS
        + "hook()\nimport pyqs_celery_compat.runtime\n"
        + INSTALL
        + "assert {'celery', 'celery.app.trace', 'celery.local'} <= set(told), told"
    )


def test_the_spec_of_a_module_is_one_and_stays(alone: Any) -> None:
    alone(
        INSTALL
        + """
import sys
from importlib.util import find_spec
for name in ("celery", "celery.local", "celery.utils.log"):
    sys.modules.pop(name, None)
    spec = find_spec(name)
    module = __import__(name, fromlist=["x"])
    assert module.__spec__ == spec == find_spec(name) and find_spec(name) is module.__spec__
    assert spec.origin == module.__file__ == module.__spec__.origin
assert find_spec("celery") != find_spec("celery.app")
import celery
from importlib import resources
assert resources.files("celery").joinpath("py.typed").is_file()
"""
    )


def test_reload_executes_the_module_again_and_keeps_it_one(alone: Any) -> None:
    alone(
        INSTALL
        + """
import importlib, sys, celery.states
celery.states.PENDING = "changed"
again = importlib.reload(celery.states)
assert again is sys.modules["celery.states"] is sys.modules["pyqs_celery_compat.states"] and again.PENDING == "PENDING"
assert again.__name__ == "pyqs_celery_compat.states" and again.__spec__.name == "pyqs_celery_compat.states"
assert type(again.__loader__).__name__ == "SourceFileLoader"
"""
    )


def test_a_module_dropped_by_celerys_name_comes_back_as_the_same(alone: Any) -> None:
    alone(
        INSTALL
        + """
import sys, celery.states as first
del sys.modules["celery.states"]
import celery.states as second
assert second is first
"""
    )


def test_pkgutil(alone: Any) -> None:
    alone(
        INSTALL
        + """
import celery, pkgutil
names = {found.name for found in pkgutil.walk_packages(celery.__path__, "celery.")}
assert {"celery.app", "celery.app.trace", "celery.utils.log"} <= names
from pyqs_celery_compat.app.trace import build_tracer
assert pkgutil.resolve_name("celery.app.trace:build_tracer") is build_tracer
"""
    )


@pytest.mark.parametrize("module", ["celery", "pyqs_celery_compat"])
def test_python_dash_m_celery_is_celerys_command_line(alone: Any, module: str) -> None:
    argv = ["celery", "-A", "proj", "multi", "start"]
    code = f"import runpy, sys\nsys.argv = {argv}\nrunpy.run_module({module!r}, run_name='__main__')"
    said = alone(INSTALL + code, fails=True)
    assert said.startswith("pyqs: error: celery multi is not here: one worker has as many executors as -c says")


@pytest.mark.parametrize("hook", ["", "sys.meta_path.insert(0, Hook())"], ids=["nobody", "hook"])
def test_threads_that_import_at_once(alone: Any, hook: str) -> None:
    """With an import hook each name is imported, under locks that threads take in different orders."""
    alone(
        f"import sys\nclass Hook:\n    def find_spec(self, *names): return None\n{hook}\n"
        """
import random, threading
from importlib import import_module
from pyqs_celery_compat import aliases
from pyqs_celery_compat.alias import install_as_celery
names = ["app.base", "app.task", "app.trace", "app.amqp", "result", "signals", "canvas", "utils.log", "utils.imports", "_state",
         "exceptions", "local", "utils.dispatch", "app.registry", "utils.functional", "loaders.app", "platforms"]
failed, start = [], threading.Barrier(12)
def one(seed):
    mine = random.Random(seed)
    start.wait()
    try:
        install_as_celery()
        for name in mine.sample(names, len(names)):
            package = mine.choice(["celery", "pyqs_celery_compat"])
            import_module(f"{package}.{name}")
    except BaseException as exc:
        failed.append(repr(exc))
threads = [threading.Thread(target=one, args=(seed,), daemon=True) for seed in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
assert not failed and not any(thread.is_alive() for thread in threads), failed
for name in names:
    assert import_module("celery." + name) is sys.modules["pyqs_celery_compat." + name]
assert sum(type(finder).__name__ == "CeleryFinder" for finder in sys.meta_path) == 1
"""
    )


def test_the_pth_installs_the_alias_before_sitecustomize(tmp_path: Path) -> None:
    """Launchers import Celery there, ahead of the first line of an app."""
    (tmp_path / "sitecustomize.py").write_text("import celery\n")
    if not (Path(sysconfig.get_path("purelib")) / "pyqs_as_celery.pth").exists():
        pytest.skip("pyqs is not installed here")
    for value, says in (("1", "pyqs_celery_compat"), ("on", "pyqs_celery_compat")):
        done = subprocess.run(
            [sys.executable, "-c", "import sys; print(sys.modules['celery'].__name__)"],
            env={"PYTHONPATH": str(tmp_path), "PYQS_AS_CELERY": value}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.strip() == says, done.stderr
    for value in ("", "0"):
        done = subprocess.run(
            [sys.executable, "-c", "import sys; print([n for n in sys.modules if n.startswith('pyqs')])"],
            env={"PYQS_AS_CELERY": value}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.strip() == "[]", done.stderr
