"""Hooks: who may register what, and how they reach an executor."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs import events
from pyqs.errors import ConfigError


class Hooks:
    def bound(self, context: dict[str, Any]) -> None: ...

    @staticmethod
    def static(context: dict[str, Any]) -> None: ...

    @classmethod
    def of_class(cls, context: dict[str, Any]) -> None: ...

    def __call__(self, context: dict[str, Any]) -> None: ...


@pytest.fixture(autouse=True)
def module() -> Iterator[types.ModuleType]:
    """A module of hooks that can be imported, and no hooks left behind."""
    events.clear_events()
    module = types.ModuleType("shop_hooks")
    exec("def before(context): ...\ndef after(context): ...\nhidden = before", vars(module))  # noqa: S102
    Hooks.__module__ = module.__name__
    vars(module).update(Hooks=Hooks)
    for method in (Hooks.bound, Hooks.static, Hooks.of_class.__func__):  # type: ignore[attr-defined]
        method.__module__ = module.__name__
    sys.modules["shop_hooks"] = module
    yield module
    del sys.modules["shop_hooks"]
    events.clear_events()


def test_hooks_are_kept_in_order(module: Any) -> None:
    events.register_event("pre_process", module.before)
    events.register_event("pre_process", module.after)
    events.register_event("post_process", module.after)
    assert events.get_events().pre_process == [module.before, module.after]
    assert events.get_events().post_process == [module.after]


@pytest.mark.parametrize("name", ["clear", "pre_proces", "", "__init__"])
def test_an_unknown_event_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(events.NoEventException, match="pre_process and post_process"):
        events.register_event(name, print)


def test_a_hook_is_callable() -> None:
    with pytest.raises(ConfigError, match="str"):
        events.register_event("pre_process", "shop.before")  # type: ignore[arg-type]


def test_they_cross_as_paths_and_come_back_as_the_same_functions(module: Any) -> None:
    hooks = [module.before, Hooks.static, Hooks.of_class]
    for hook in hooks:
        events.register_event("pre_process", hook)
    events.register_event("post_process", module.after)
    paths = events.dotted_paths()
    assert paths == (
        ("pre_process", "shop_hooks:before"),
        ("pre_process", "shop_hooks:Hooks.static"),
        ("pre_process", "shop_hooks:Hooks.of_class"),
        ("post_process", "shop_hooks:after"),
    )
    events.clear_events()
    events.load(paths)
    assert events.get_events().pre_process == hooks
    assert events.get_events().post_process == [module.after]


def test_one_that_its_module_registers_itself_is_not_called_twice(module: Any) -> None:
    events.register_event("pre_process", module.before)
    events.load(events.dotted_paths())
    assert events.get_events().pre_process == [module.before]


def test_hooks_without_a_path_are_named(module: Any) -> None:
    def nested(context: dict[str, Any]) -> None: ...

    def moved(context: dict[str, Any]) -> None: ...

    moved.__module__, moved.__qualname__ = "shop_hooks", "before"
    main = types.FunctionType(nested.__code__, {})
    main.__module__, main.__qualname__ = "__main__", "in_main"
    unnamed: list[tuple[Any, str]] = [
        (lambda context: None, "lambda"),
        (nested, "nested"),
        (Hooks().bound, "Hooks.bound is not what that name stands for"),
        (Hooks(), "no name"),
        (functools.partial(nested), "no name"),
        (moved, "not what that name stands for"),
        (main, "in_main is defined in the program that was started"),
    ]
    for hook, told in unnamed:
        events.clear_events()
        events.register_event("post_process", hook)
        with pytest.raises(ConfigError, match=told) as caught:
            events.dotted_paths()
        assert "post_process" in str(caught.value)
        assert "module" in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere_at_all:before", "shop_hooks:nothing", "shop_hooks:Hooks.nothing"])
def test_a_path_that_leads_nowhere_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        events.load([("pre_process", path)])


def test_async_hooks_are_refused() -> None:
    async def hook(context: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigError, match="not awaited"):
        events.register_event("pre_process", hook)
