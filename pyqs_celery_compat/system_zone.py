"""The time zone of this machine, with its name where one can be found.

Owns: ``system_zone``. Reads ``TZ`` and ``/etc/localtime``; used in any process that asks for local time. Never changes either.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOCALTIME = Path("/etc/localtime")


def system_zone() -> tzinfo:
    """What ``TZ`` names, else what ``/etc/localtime`` links to or holds, else the offset of this moment."""
    given = os.environ.get("TZ", "").lstrip(":")
    if given and (zone := _named(given) or _in_file(Path(given))):
        return zone
    if not given and LOCALTIME.exists():
        parts = LOCALTIME.resolve().parts
        key = "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else parts[-1]
        if zone := _named(key) or _in_file(LOCALTIME):
            return zone
    return datetime.now().astimezone().tzinfo or timezone.utc


def _named(key: str) -> tzinfo | None:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # ValueError: an absolute path, or one that leaves the database
        return None


def _in_file(path: Path) -> tzinfo | None:
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (ValueError, OSError):
        return None
