"""The database: how it is opened, its tables, and its settings.

Owns: the SQLite connection's set-up. Runs where the store is opened. Never reads or writes a message.

Promises kept by the settings: a committed transaction survives SIGKILL of the process, because by then the write-ahead
log has been handed to the kernel; that takes no fsync, so ``synchronous=OFF``, which spares 20-40 ms at each checkpoint.
What it gives up is a kernel crash or a power cut: then the file may be lost, which a development server can bear.
``locking_mode=EXCLUSIVE`` refuses a second process on the same file and spares the shared-memory index.
"""

from __future__ import annotations

import os
import sqlite3

from pyqs.errors import ConfigError

VERSION = 1
READY, INFLIGHT, DELAYED = 0, 1, 2

# A message's body stands in a table of its own: hiding a message rewrites its row, and a body may be 1 MiB.
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, region TEXT NOT NULL,
    attributes TEXT NOT NULL, tags TEXT NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL, purged INTEGER);
CREATE TABLE IF NOT EXISTS deleted_queue (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY, queue INTEGER NOT NULL, fifo INTEGER NOT NULL, state INTEGER NOT NULL,
    visible_at INTEGER NOT NULL, sent_at INTEGER NOT NULL, message_id TEXT NOT NULL, receives INTEGER NOT NULL DEFAULT 0,
    receipt INTEGER NOT NULL DEFAULT 0, first_received INTEGER, received_at INTEGER, group_id TEXT, source TEXT);
CREATE INDEX IF NOT EXISTS message_state ON message (queue, state, visible_at, seq);
CREATE INDEX IF NOT EXISTS message_age ON message (queue, sent_at);
CREATE INDEX IF NOT EXISTS message_group ON message (queue, group_id, state, seq) WHERE fifo = 1;
CREATE TABLE IF NOT EXISTS content (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, attributes TEXT, trace_header TEXT, dedup_id TEXT);
CREATE TABLE IF NOT EXISTS fifo_group (
    queue INTEGER NOT NULL, group_id TEXT NOT NULL, head INTEGER NOT NULL, open INTEGER NOT NULL,
    PRIMARY KEY (queue, group_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fifo_open ON fifo_group (queue, open, head);
CREATE TABLE IF NOT EXISTS dedup (
    queue INTEGER NOT NULL, scope TEXT NOT NULL, dedup_id TEXT NOT NULL, message_id TEXT NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (queue, scope, dedup_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dedup_age ON dedup (at);
CREATE TABLE IF NOT EXISTS move_task (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, queue INTEGER NOT NULL, destination TEXT, rate INTEGER,
    started INTEGER NOT NULL, status TEXT NOT NULL, moved INTEGER NOT NULL, to_move INTEGER NOT NULL, reason TEXT);
CREATE INDEX IF NOT EXISTS move_task_queue ON move_task (queue, seq);
"""


def connect(path: str | None) -> sqlite3.Connection:
    """Open the file, or memory when the path is None. Raises ConfigError with one clear line."""
    where = ":memory:" if path is None else os.fspath(path)
    try:
        connection = sqlite3.connect(where, timeout=0.5, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA wal_autocheckpoint=4096")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
        found = _version(connection)
        if found not in (None, VERSION):
            connection.close()
            raise ConfigError(f"{where} was written by another version of pyqs (format {found}, this one reads {VERSION})")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (VERSION,))
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('receipt_key', ?)", (os.urandom(32),))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        reason = "another process has it open" if "locked" in str(error) else str(error)
        raise ConfigError(f"cannot use {where} as a queue database: {reason}") from error
    return connection


def _version(connection: sqlite3.Connection) -> int | None:
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not tables:
        return None
    if "meta" not in tables:
        raise sqlite3.DatabaseError("it is the database of another program")
    row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
    return row[0] if row else None
