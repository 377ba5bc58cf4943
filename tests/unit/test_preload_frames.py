"""``pyqs.executor.preload`` acts in a forkserver only, and a child that imports it first is no forkserver."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from pyqs.executor import preload


def played(look: Any, **functions: Any) -> dict[str, Any]:
    """The functions as if ``multiprocessing.forkserver`` had defined them."""
    namespace: dict[str, Any] = {"__name__": "multiprocessing.forkserver", "look": look}
    for name, function in functions.items():
        namespace[name] = FunctionType(function.__code__.replace(co_name=name), namespace)
    return namespace


def test_the_servers_own_import_finds_its_frame() -> None:
    def main() -> Any:
        return look()  # type: ignore[name-defined]  # noqa: F821

    frame = played(preload._server_frame, main=main)["main"]()
    assert frame.f_code.co_name == "main"


def test_a_childs_import_does_not_take_the_servers_frame_for_its_own() -> None:
    def main() -> Any:
        return _serve_one()  # type: ignore[name-defined]  # noqa: F821

    def serve_one() -> Any:
        return look()  # type: ignore[name-defined]  # noqa: F821

    assert played(preload._server_frame, main=main, _serve_one=serve_one)["main"]() is None


def test_elsewhere_there_is_no_server() -> None:
    assert preload._server_frame() is None
