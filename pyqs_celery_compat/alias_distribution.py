"""Celery's distribution, as instrumentation looks for it, where genuine Celery is not installed.

Owns: what ``importlib.metadata`` says of ``celery``. Loaded when somebody asks, in any process with the alias. Writes no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path

from pyqs_celery_compat import version
from pyqs_celery_compat.aliases import CELERY


class Presented(Distribution):
    """Celery, in the version whose behaviour this package has; no files, no requirements, no entry points."""

    def read_text(self, filename: str) -> str | None:
        """The metadata; None of any other file."""
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {CELERY}\nVersion: {version.CELERY}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Where a file of it would be."""
        return Path(__file__).parent / path


def presented(context: DistributionFinder.Context) -> Iterable[Distribution]:
    """The distribution, unless a real one is on the path."""
    return () if any(True for _ in MetadataPathFinder.find_distributions(context)) else (Presented(),)
