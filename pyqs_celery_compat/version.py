"""Which Celery this package presents, and which release of ours does.

Owns: the two versions. Runs in every process. Never asks for installed distributions before somebody wants to know ours.
"""

from __future__ import annotations

from functools import cache

#: The release of Celery whose names and behaviour these are.
CELERY = "5.7.0"


@cache
def own() -> str:
    """The release of pyqs that this package came with; ``unknown`` from a tree that was not installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version("pyqs")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
