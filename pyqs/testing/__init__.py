"""For the tests of those who have tasks: a worker in the test's process, and what was enqueued.

Owns: nothing itself. ``worker`` is a worker whose executors are threads, ``threads`` those, ``interrupts`` what is raised in
them; ``recording`` knows what was sent; ``pytest`` has the fixtures, for ``pytest_plugins = ["pyqs.testing.pytest"]``. Runs in
tests only. Nothing of a worker that serves users is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs.testing.recording import Enqueued as Enqueued
    from pyqs.testing.recording import Sent as Sent
    from pyqs.testing.worker import InProcessWorker as InProcessWorker

__all__ = ["Enqueued", "InProcessWorker", "Sent"]

_PLACES = {"Enqueued": "recording", "InProcessWorker": "worker", "Sent": "recording"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pyqs.testing.{_PLACES[name]}"), name)
