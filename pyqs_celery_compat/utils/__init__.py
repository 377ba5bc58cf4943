"""Celery's small helpers under Celery's names, for code that imports them from there.

Owns: nothing of its own; the names come from their modules.
"""

from __future__ import annotations

from functools import cached_property

from pyqs_celery_compat.uuids import uuid

gen_unique_id = uuid

__all__ = ["cached_property", "gen_unique_id", "uuid"]
