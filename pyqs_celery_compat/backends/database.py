"""``db+sqlite:///results.db``, ``db+postgresql://…`` and whatever SQLAlchemy reaches: results in Celery's two tables.

Owns: ``DatabaseBackend``. Lives in the process that calls a task and in the one that runs it; each has connections of its own,
also after a fork. Works with tables that older Celerys have made: columns they lack are left out. A success is not written
over, by the statement that writes. Never unpickles more than a restricted pickle: tables before Celery 5.7 hold them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import pickles, states
from pyqs_celery_compat.backends.database_revoked import DatabaseRevoked
from pyqs_celery_compat.backends.optional_sqlalchemy import sa
from pyqs_celery_compat.chord_parts import CLAIM
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_backend import Backend
from pyqs_celery_compat.result_values import as_bytes
from pyqs_celery_compat.utils import imports

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.backends.database")

#: Tries of a statement that failed for reasons that may pass, where ``result_backend_always_retry`` does not say otherwise.
_TRIES = 3
#: What a pickle of the binary protocols begins with.
_PICKLE = b"\x80"
#: Seconds that SQLite waits for another process's write.
_SQLITE_TIMEOUT = 30.0
#: States of the row by which a chord's body is claimed.
_CLAIMED, _SENT = "CLAIMED", "SENT"
_EXTENDED = ("name", "args", "kwargs", "worker", "retries", "queue")


class DatabaseBackend(DatabaseRevoked, Backend):
    """Keeps results in a database.

    Parameters:
        dburi, url: SQLAlchemy's, with or without ``db+`` in front; default ``database_url``.
        engine_options: over ``database_engine_options``.

    Raises:
        ImproperlyConfigured: no URL, or the sqlalchemy package is not there.
    """

    thread_safe = True
    subpolling_interval = 0.5
    longest_pause = 0.1

    def __init__(
        self, dburi: str | None = None, engine_options: Mapping[str, Any] | None = None, url: str | None = None, *, app: Celery,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(app, url=url, expires_type=_as_timedelta, **kwargs)
        if sa is None:
            raise ImproperlyConfigured(
                "a result backend in a database needs the sqlalchemy package: pip install 'pyqs[sqlalchemy]'"
            )
        conf = app.conf
        self.url: str = _without_scheme(url) or dburi or conf.database_url
        if not self.url:
            raise ImproperlyConfigured("a result backend in a database needs its URL: db+sqlite:///results.db, or database_url")
        if not conf.value_set_for("result_backend_always_retry"):
            self.always_retry = True
        if not conf.value_set_for("result_backend_max_retries"):
            self.max_retries = _TRIES
        self.engine_options = {**(conf.database_engine_options or {}), **(engine_options or {})}
        callback = conf.database_engine_callback
        self._callback: Callable[[Any], Any] | None = (
            imports.symbol_by_name(callback) if isinstance(callback, str) else callback
        )
        schemas, names = conf.database_table_schemas or {}, conf.database_table_names or {}
        self._tables = _Tables(schemas.get("task"), names.get("task"), schemas.get("group"), names.get("group"))
        self._engine: tuple[int, Any] | None = None
        self._lock = threading.Lock()
        if conf.database_create_tables_at_setup:
            self._set_up()

    @property
    def engine(self) -> Any:
        """SQLAlchemy's, of this process, with the tables there."""
        with self._lock:
            pid = os.getpid()
            if self._engine is None or self._engine[0] != pid:
                options = dict(self.engine_options)
                if self.url.startswith("sqlite"):
                    options["connect_args"] = {"timeout": _SQLITE_TIMEOUT, **options.get("connect_args", {})}
                engine = sa.create_engine(self.url, future=True, **options)
                if self._callback is not None:
                    self._callback(engine)
                self._tables.have(engine)
                self._engine = (pid, engine)
            return self._engine[1]

    def _set_up(self) -> None:
        """Have the tables there early. Whoever only calls tasks must not fail for a database that is away."""
        try:
            self.engine  # noqa: B018
        except sa.exc.DBAPIError as exc:
            logger.warning("%s: its tables could not be made yet: %s", self.as_uri(), type(exc.orig).__name__)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return isinstance(exc, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError))

    # -- what a store does --------------------------------------------------------------------------------------------
    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Context | None = None, **kwargs: Any
    ) -> None:
        meta = self._get_result_meta(result, state, traceback, request, format_date=False)
        done = meta["date_done"]
        row = {
            "status": state,
            "result": as_bytes(self.encode(meta["result"])),
            "traceback": traceback,
            "date_done": None if done is None else done.replace(tzinfo=None),
            "children": as_bytes(self.encode(meta["children"])) if meta["children"] else None,
        }
        if self.app.conf.result_extended:
            row |= {name: meta.get(name) for name in _EXTENDED}
            row |= {name: as_bytes(self.encode(row[name])) for name in ("args", "kwargs") if row[name] is not None}
        self._put(self._tables.task, "task_id", task_id, row, unless=states.SUCCESS)

    def _put(self, table: Any, key: str, value: str, row: dict[str, Any], unless: str | None = None) -> None:
        row = {name: content for name, content in row.items() if name in self._tables.present(self.engine, table)}
        mine = table.c[key] == value
        change = sa.update(table).where(mine).values(**row)
        if unless is not None:
            change = change.where(sa.or_(table.c.status != unless, table.c.status.is_(None)))
        for _ in range(2):
            try:
                with self.engine.begin() as connection:
                    if connection.execute(change).rowcount:
                        return
                    if connection.execute(sa.select(table.c.id).where(mine)).first() is not None:
                        return  # it is a success already
                    connection.execute(sa.insert(table).values(**{key: value}, **row))
                return
            except sa.exc.IntegrityError:  # another process was faster
                continue

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        table = self._tables.task
        present = self._tables.present(self.engine, table)
        columns = [column for column in table.c if column.name in present and column.name != "id"]
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(*columns).where(table.c.task_id == task_id)).first()
        if found is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": None}
        meta = dict(found._mapping)
        for name in ("result", "children", "args", "kwargs"):
            if meta.get(name) is not None:
                meta[name] = self._read(meta[name])
        stamps = meta.pop("stamps", None)
        if stamps is not None and isinstance(said := self._read(stamps), Mapping):
            meta |= {"stamped_headers": said.get("stamped_headers"), **(said.get("stamps") or {})}
        if not self.app.conf.result_extended:
            for name in _EXTENDED:
                meta.pop(name, None)
        return meta

    def _read(self, payload: bytes) -> Any:
        """A value as the serializer wrote it, or as SQLAlchemy's pickles did before Celery 5.7: read without its code."""
        try:
            return self.decode(payload)
        except Exception:
            if not payload.startswith(_PICKLE):
                raise
            return pickles.loads_safe(payload)

    def _forget(self, task_id: str) -> None:
        self._delete(self._tables.task, "task_id", task_id)

    def _save_group(self, group_id: str, result: Any) -> Any:
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        row = {"result": as_bytes(self.encode(self.prepare_value(result))), "date_done": now}
        self._put(self._tables.group, "taskset_id", group_id, row)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        from pyqs_celery_compat.result import result_from_tuple

        table = self._tables.group
        with self.engine.connect() as connection:
            found = connection.execute(
                sa.select(table.c.result, table.c.date_done).where(table.c.taskset_id == group_id)
            ).first()
        if found is None:
            return None
        value = self._read(found.result)
        return {"task_id": group_id, "date_done": found.date_done, "result": value and result_from_tuple(value, self.app)}

    def _delete_group(self, group_id: str) -> None:
        self._delete(self._tables.group, "taskset_id", group_id)

    def _delete(self, table: Any, key: str, value: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c[key] == value))

    # -- chords: a row of a name of its own says who sends the body ---------------------------------------------------
    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        table, key = self._tables.task, f"chord-unlock-{group_id}"
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        mine = table.c.task_id == key
        ended = sa.and_(mine, table.c.status == _CLAIMED, table.c.date_done < now - timedelta(seconds=seconds))
        try:
            with self.engine.begin() as connection:
                if connection.execute(sa.update(table).where(ended).values(date_done=now)).rowcount:
                    return True
                found = connection.execute(sa.select(table.c.status).where(mine)).first()
                if found is None:
                    connection.execute(sa.insert(table).values(task_id=key, status=_CLAIMED, date_done=now))
                    return True
            return None if found.status == _SENT else False
        except sa.exc.IntegrityError:  # another one was faster
            return False

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        table = self._tables.task
        with self.engine.begin() as connection:
            connection.execute(sa.update(table).where(table.c.task_id == f"chord-unlock-{group_id}").values(status=_SENT))

    def cleanup(self) -> None:
        """Delete what has expired."""
        if not self.expires:
            return
        too_old = datetime.now(timezone.utc).replace(tzinfo=None) - _as_timedelta(self.expires)
        with self.engine.begin() as connection:
            for table in (self._tables.task, self._tables.group):
                connection.execute(sa.delete(table).where(table.c.date_done < too_old))

    def as_uri(self, include_password: bool = False) -> str:
        """The URL; the password only where that is asked for."""
        shown: str = sa.engine.make_url(self.url).render_as_string(hide_password=not include_password)
        return shown

    def __reduce__(self) -> Any:
        return _again, (type(self), {"app": self.app, "url": self.url, "engine_options": self.engine_options})


class _Tables:
    """Celery 5.7's two tables, and what of them a database has."""

    def __init__(self, task_schema: Any, task_name: Any, group_schema: Any, group_name: Any) -> None:
        metadata = sa.MetaData()
        text, payload = sa.String(155), sa.LargeBinary

        def head(sequence: str, schema: Any) -> list[Any]:
            integer = sa.Integer().with_variant(sa.BigInteger(), "mssql")
            return [sa.Column("id", integer, sa.Sequence(sequence, schema=schema), primary_key=True, autoincrement=True)]

        self.task = sa.Table(
            task_name or "celery_taskmeta", metadata, *head("task_id_sequence", task_schema),
            sa.Column("task_id", text, unique=True), sa.Column("status", sa.String(50)), sa.Column("result", payload),
            sa.Column("date_done", sa.DateTime, index=True), sa.Column("traceback", sa.Text), sa.Column("children", payload),
            sa.Column("name", text), sa.Column("args", payload), sa.Column("kwargs", payload), sa.Column("worker", text),
            sa.Column("retries", sa.Integer), sa.Column("queue", text), sa.Column("stamps", payload),
            schema=task_schema, sqlite_autoincrement=True,
        )  # fmt: skip
        self.group = sa.Table(
            group_name or "celery_tasksetmeta", metadata, *head("taskset_id_sequence", group_schema),
            sa.Column("taskset_id", text, unique=True), sa.Column("result", payload),
            sa.Column("date_done", sa.DateTime, index=True), schema=group_schema, sqlite_autoincrement=True,
        )  # fmt: skip
        self._metadata = metadata
        self._present: dict[str, frozenset[str]] = {}

    def have(self, engine: Any) -> None:
        """Make those that are not there. Two processes may do it at once: then one of them looks again."""
        for last in (False, False, True):
            try:
                self._metadata.create_all(engine)
                return
            except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError):
                if last:
                    raise

    def present(self, engine: Any, table: Any) -> frozenset[str]:
        """Names of the columns that the database's table has."""
        if table.name not in self._present:
            found = sa.inspect(engine).get_columns(table.name, schema=table.schema)
            self._present[table.name] = frozenset(column["name"] for column in found)
        return self._present[table.name]


def _again(kind: type[DatabaseBackend], options: dict[str, Any]) -> DatabaseBackend:
    return kind(**options)


def _without_scheme(url: str | None) -> str | None:
    for scheme in ("db+", "database+"):
        url = url and url.removeprefix(scheme)
    return None if url in ("db", "database", "db://", "database://") else url


def _as_timedelta(seconds: Any) -> timedelta:
    return seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)


belongs_to("celery.backends.database", DatabaseBackend)
