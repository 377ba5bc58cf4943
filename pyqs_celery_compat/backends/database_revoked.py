"""Which calls were revoked, kept in a database: a table of our own, of which each worker reads once a second what is new.

Owns: ``DatabaseRevoked``, a part of ``DatabaseBackend``, and the table, which is made where somebody revokes or a worker looks.
Runs there: in whatever process revokes, and in a worker's host. Never makes the table only because results are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from pyqs.message import CalledOff
from pyqs_celery_compat.backends.optional_sqlalchemy import sa

TABLE = "pyqs_revoked"
#: How many a worker reads at its start, the newest.
MOST = 50_000
#: Rows of one transaction.
AT_ONCE = 100
#: A row has its number when it is written and is seen when it is committed, which may be after one with a higher number. So a
#: reader looks again at so many numbers below the highest, until it has seen nothing new for so many seconds.
OVERLAP, SETTLED = 1000, 60.0
#: A mark: the highest number that was read, those below that were read and will be again, and when the last was new.
_Mark = tuple[int, frozenset[int], float]


class DatabaseRevoked:
    """The part of a database backend that keeps which calls were revoked."""

    keeps_revoked = True

    engine: Any
    exception_safe_to_retry: Callable[[BaseException], bool]
    #: The process that has seen to it that the table is there, and the table.
    _revoked: tuple[int, Any] | None = None

    def add_revoked(self, calls: Iterable[CalledOff]) -> None:
        """Keep that these calls are not to be run. Raises SQLAlchemy's errors."""
        calls = list(calls)
        for at in range(0, len(calls), AT_ONCE):
            some = calls[at : at + AT_ONCE]
            rows = [{"call_id": one.call_id, "counts_until": one.until, "kill_signal": one.signal} for one in some]
            try:
                self._insert(rows)
            except Exception as exc:
                if not self.exception_safe_to_retry(exc):
                    raise
                self._insert(rows)  # a connection that was closed while it was idle

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        table = self._revoked_table()
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.counts_until <= time.time()))
            connection.execute(sa.insert(table), rows)

    def revoked_since(self, mark: _Mark | None) -> tuple[_Mark, list[CalledOff]]:
        """The mark for the next time, and what was added after this one (None: all). Raises SQLAlchemy's errors."""
        table, now = self._revoked_table(), time.monotonic()
        top, seen, last = mark or (0, frozenset(), now)
        low = top if now - last > SETTLED else top - OVERLAP
        query = sa.select(table).where(table.c.id > low).order_by(table.c.id.desc()).limit(MOST)
        with self.engine.connect() as connection:
            rows = [row for row in reversed(connection.execute(query).all()) if row.id not in seen]
        if not rows:
            return (top, seen, last), []
        numbers = {row.id for row in rows}
        top = max(top, *numbers)
        return (top, frozenset(one for one in seen | numbers if one > top - OVERLAP), now), [
            CalledOff(row.call_id, float(row.counts_until), int(row.kill_signal)) for row in rows
        ]

    def _revoked_table(self) -> Any:
        if self._revoked is None or self._revoked[0] != os.getpid():
            metadata = sa.MetaData()
            integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
            table = sa.Table(
                TABLE, metadata, sa.Column("id", integer, primary_key=True, autoincrement=True),
                sa.Column("call_id", sa.String(255), nullable=False), sa.Column("counts_until", sa.Float(53), nullable=False),
                sa.Column("kill_signal", sa.Integer, nullable=False), sqlite_autoincrement=True,
            )  # fmt: skip
            try:
                metadata.create_all(self.engine)
            except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError):
                metadata.create_all(self.engine)  # another process was making it
            self._revoked = os.getpid(), table
        return self._revoked[1]
