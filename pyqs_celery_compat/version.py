"""Which Celery this package behaves as: what libraries look at before they patch.

Owns: the version's spellings. Pure. The package's own version is that of the distribution ``pyqs``.
"""

from __future__ import annotations

from typing import NamedTuple


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    """A version in parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


VERSION = version_info = version_info_t(5, 7, 0, "", "")
__version__ = f"{VERSION.major}.{VERSION.minor}.{VERSION.micro}"
SERIES = "pyqs"
VERSION_BANNER = f"{__version__} ({SERIES})"
