"""What Celery's own test files import as ``t.unit.conftest``: the fixtures, and the functions of that module.

Owns: the app that each test gets, the trap in place of the current app, and what a test may replace for its time. Written
against Celery's public face and the few names of ``celery._state`` that hold the current app, so that the same file serves
genuine Celery and ours; what a side does not have yet fails the tests that use it and no others.
"""

from __future__ import annotations

import builtins
import io
import logging
import platform
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock, Mock, patch

import pytest
from celery import Celery, _state
from kombu import Queue

#: What an app of a test is set to unless the test says otherwise: nothing leaves the process.
QUIET: dict[str, Any] = {
    "accept_content": {"json"},
    "broker_heartbeat": 0,
    "broker_url": "memory://",
    "enable_utc": True,
    "result_backend": "cache+memory://",
    "timezone": "UTC",
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
}
MISSING = object()


class Absent:
    """A private name of Celery's that a file imports at its top: the tests that use it fail, the others run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{self.name} is Celery's own and not here")


for _module, _names in {
    "celery.canvas": "_clear_chord_option _fold_chain _maybe_group _merge_chain_step _merge_dictionaries "
    "_strip_chord_header_links maybe_unroll_group",
    "celery.backends.base": "_create_chord_error_with_cause _create_fake_task_request",
}.items():
    for _name in _names.split():
        if not hasattr(import_module(_module), _name):
            setattr(import_module(_module), _name, Absent(f"{_module}.{_name}"))


# -- the app ------------------------------------------------------------------------------------------------------------
class Trap:
    """Stands in for the current app: a test that was given an app must not fall back to another."""

    def __getattr__(self, name: str) -> Any:
        if name in {"_is_coroutine", "_is_coroutine_mark", "__func__"}:  # what Mock asks of whatever it replaces
            raise AttributeError(name)
        raise RuntimeError(f"Test depends on current_app, for {name}")


def make_app(
    name: str = "celery.tests",
    config: dict[str, Any] | None = None,
    set_as_current: bool = False,
    broker: str | None = None,
    backend: Any = None,
    **options: Any,
) -> Celery:
    """An app for a test; ``self.Celery`` of the test classes. A broker or backend that is named beats the quiet ones."""
    settings = {**QUIET, **(config or {})}
    if broker is not None:
        del settings["broker_url"]
    if backend is not None:
        del settings["result_backend"]
    app = Celery(name, set_as_current=set_as_current, broker=broker, backend=backend, **options)
    app.add_defaults(settings)
    return app


@contextmanager
def own_state() -> Iterator[None]:
    """The current app is a trap; afterwards the apps and finalizers are those from before."""
    default, current = _state.default_app, _state._tls.current_app
    finalizers, apps = type(_state._on_app_finalizers)(_state._on_app_finalizers), weakref.WeakSet(_state._apps)
    _state.set_default_app(Trap())
    _state._tls.current_app = None
    try:
        yield
    finally:
        _state.set_default_app(default)
        _state._tls.current_app = current
        _state._on_app_finalizers, _state._apps = finalizers, apps


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    return {
        "accept_content": ("json", "pickle"),
        "broker_transport_options": {"polling_interval": 0.1},
        "broker_url": "memory://",
        "result_backend": "cache+memory://",
        "task_default_exchange": "testcelery",
        "task_default_queue": "testcelery",
        "task_default_routing_key": "testcelery",
        "task_queues": (Queue("testcelery", routing_key="testcelery"),),
    }


@pytest.fixture
def celery_app(request: pytest.FixtureRequest, celery_config: dict[str, Any]) -> Iterator[Celery]:
    marked = {name: value for mark in request.node.iter_markers("celery") for name, value in mark.kwargs.items()}
    app = make_app(config={**celery_config, **marked})
    with own_state():
        yield app
        app.close()


@pytest.fixture
def app(celery_app: Celery) -> Celery:
    return celery_app


@pytest.fixture
def depends_on_current_app(celery_app: Celery) -> None:
    celery_app.set_current()


@pytest.fixture(autouse=True)
def waiting_is_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test may wait for a result inside of a task; the answer as it was is at hand under a name that one test looks for."""
    monkeypatch.setattr(_state, "orig_task_join_will_block", getattr(_state, "task_join_will_block", None), raising=False)
    for module in (_state, _optional("celery.result")):
        monkeypatch.setattr(module, "task_join_will_block", lambda: False, raising=False)
    block = getattr(_state, "_set_task_join_will_block", lambda blocks: None)
    block(False)
    yield
    block(False)


@pytest.fixture(autouse=True)
def on_each_instance(request: pytest.FixtureRequest, celery_config: dict[str, Any]) -> Iterator[None]:
    """What the methods of the test classes find on ``self``."""
    test = request.instance
    if test is not None:
        app: Celery = request.getfixturevalue("app")

        @app.task
        def add(x: Any, y: Any) -> Any:
            return x + y

        test.app, test.Celery, test.add = app, make_app, add
        test.CELERY_TEST_CONFIG = celery_config
        test.assert_signal_called = assert_signal_called
        test.patching = request.getfixturevalue("patching")
        mocks = _optional("celery.contrib.testing.mocks")
        for name in ("TaskMessage", "TaskMessage1", "task_message_from_sig"):
            setattr(test, name, getattr(mocks, name, None))
    with restore_logging_context_manager():
        yield
    if test is not None:
        test.app = None


def _optional(name: str) -> types.ModuleType:
    """A module, or an empty one where the side has none of this name yet."""
    try:
        return import_module(name)
    except ImportError:
        return types.ModuleType(name)


@contextmanager
def assert_signal_called(signal: Any, **expected: Any) -> Iterator[Mock]:
    """The signal is sent in this block, at last with these arguments."""
    called = Mock()

    def receiver(**given: Any) -> Any:
        return called(**given)

    signal.connect(receiver)
    try:
        yield called
    finally:
        signal.disconnect(receiver)
    called.assert_called_with(signal=signal, **expected)


# -- what a test replaces for its time ----------------------------------------------------------------------------------
class Patching:
    """``monkeypatch``, but a name alone gets a Mock: ``patching("os.execv")`` answers it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: ExitStack) -> None:
        self._monkeypatch = monkeypatch
        self._until = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._monkeypatch, name)

    def __call__(
        self, path: str, value: Any = MISSING, name: str | None = None, new: Any = MagicMock, **attributes: Any
    ) -> Any:
        value = _or_mock(value, new, name or path.rpartition(".")[2], attributes)
        self._monkeypatch.setattr(path, value)
        return value

    def setitem(self, mapping: Any, key: Any, value: Any = MISSING, new: Any = MagicMock, **attributes: Any) -> Any:
        value = _or_mock(value, new, str(key), attributes)
        self._monkeypatch.setitem(mapping, key, value)
        return value

    def object(self, target: Any, attribute: str, *args: Any, **kwargs: Any) -> Any:
        return self._until.enter_context(patch.object(target, attribute, *args, **kwargs))

    def modules(self, *names: str) -> list[types.ModuleType]:
        """Mocks in place of these modules and of the packages they are in."""
        parts = [name.split(".") for name in names]
        every = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
        return self._until.enter_context(mocked_modules(*sorted(every)))


def _or_mock(value: Any, new: Any, name: str, attributes: dict[str, Any]) -> Any:
    value = new(name=name) if value is MISSING else value
    for attribute, wanted in attributes.items():
        setattr(value, attribute, wanted)
    return value


@pytest.fixture
def patching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Patching]:
    with ExitStack() as until:
        yield Patching(monkeypatch, until)


def _marked(request: pytest.FixtureRequest, mark: str) -> tuple[Any, ...]:
    found = request.node.get_closest_marker(mark)
    assert found is not None, f"a test that uses {request.fixturename} needs the mark {mark}"
    return tuple(found.args)


class MockedModule(types.ModuleType):
    """A module that makes each attribute up, as a Mock, and keeps it."""

    def __getattr__(self, name: str) -> Any:
        made = Mock(name=f"{self.__name__}.{name}")
        setattr(self, name, made)
        return made


@contextmanager
def mocked_modules(*names: str) -> Iterator[list[types.ModuleType]]:
    """Mocks in place of these modules, whether or not they exist."""
    with patch.dict(sys.modules, {name: MockedModule(name) for name in names}):
        yield [sys.modules[name] for name in names]


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Iterator[list[types.ModuleType]]:
    with mocked_modules(*_marked(request, "patched_module")) as mocks:
        yield mocks


@pytest.fixture
def mask_modules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    masked = _marked(request, "masked_modules")
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> types.ModuleType:
        if name in masked:
            raise ImportError(f"No module named {name}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.fixture
def environ(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*_marked(request, "patched_environ"))


@pytest.fixture
def sleepdeprived(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    (where,) = _marked(request, "sleepdeprived_patched_module")
    monkeypatch.setattr(where, "sleep", lambda *seconds: None)


@contextmanager
def _with_attribute(module: types.ModuleType, name: str, value: Any) -> Iterator[None]:
    """The module has this attribute; it has none of this name if the value is None."""
    with pytest.MonkeyPatch.context() as patched:
        if value is None:
            patched.delattr(module, name, raising=False)
        else:
            patched.setattr(module, name, value, raising=False)
        yield


@contextmanager
def platform_pyimp(value: Callable[[], str] | None = None) -> Iterator[None]:
    """``platform.python_implementation`` is this function, or missing."""
    with _with_attribute(platform, "python_implementation", value):
        yield


@contextmanager
def sys_platform(value: str) -> Iterator[None]:
    """``sys.platform`` is this name."""
    with _with_attribute(sys, "platform", value):
        yield


@contextmanager
def pypy_version(value: tuple[Any, ...] | None = None) -> Iterator[None]:
    """``sys.pypy_version_info`` is this, or missing."""
    with _with_attribute(sys, "pypy_version_info", value):
        yield


# -- logging and output -------------------------------------------------------------------------------------------------
class Text(io.StringIO):
    """A StringIO that takes bytes, too."""

    def write(self, data: str | bytes) -> int:
        return super().write(data.decode() if isinstance(data, bytes) else data)


@contextmanager
def restore_logging_context_manager() -> Iterator[None]:
    """The root logger and the standard streams are afterwards what they were."""
    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
        root.setLevel(level)
        root.handlers[:] = handlers


@pytest.fixture
def restore_logging() -> Iterator[None]:
    with restore_logging_context_manager():
        yield


@contextmanager
def stdouts() -> Iterator[tuple[Text, Text]]:
    """Standard output and error, as text that can be read."""
    out, err = Text(), Text()
    with patch.multiple(sys, stdout=out, __stdout__=out, stderr=err, __stderr__=err):
        yield out, err


def get_logger_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """The logger's handlers, but for those that do nothing."""
    return [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]


@contextmanager
def wrap_logger(logger: logging.Logger, loglevel: int = logging.ERROR) -> Iterator[Text]:
    """What the logger writes, as text, in place of its handlers."""
    text = Text()
    before, logger.handlers = get_logger_handlers(logger), [logging.StreamHandler(text)]
    try:
        yield text
    finally:
        logger.handlers = before
