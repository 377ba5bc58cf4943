"""Which Celery this package presents, and which release of ours does.

Owns: the two versions, Celery's in all its spellings, by which libraries decide whether and how to patch. Runs in every
process. Never asks for installed distributions before somebody wants to know ours.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    """A version in parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


#: The release of Celery whose names and behaviour these are.
CELERY = "5.7.0"

__version__ = CELERY
VERSION = version_info = version_info_t(5, 7, 0, "", "")
SERIES = "pyqs"
VERSION_BANNER = f"{CELERY} ({SERIES})"


@cache
def own() -> str:
    """The release of pyqs that this package came with; ``unknown`` from a tree that was not installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version("pyqs")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
