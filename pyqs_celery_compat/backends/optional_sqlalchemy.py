"""SQLAlchemy, which is an extra: ``sa`` is None where it is not installed, and a database backend says so when it is made.

Owns: that one import. Loaded by the database backend's modules only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    sa: Any
else:
    try:
        import sqlalchemy as sa
    except ImportError:
        sa = None
