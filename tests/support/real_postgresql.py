"""A PostgreSQL of one test, as a real server of Debian's.

The cluster is in a temporary folder, on 127.0.0.1; it runs as whoever runs the tests, or as ``postgres`` where that is root,
which PostgreSQL refuses to be run by.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from processes import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
USER = "tests"


@dataclass(frozen=True)
class RealPostgresql:
    """One that runs."""

    port: int

    @property
    def url(self) -> str:
        """As a result backend of Celery's."""
        return f"db+postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"

    def another(self) -> str:
        """The URL of a new database on it, empty."""
        import psycopg

        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url.removesuffix("postgres") + name


@contextlib.contextmanager
def running() -> Iterator[RealPostgresql]:
    """One that runs inside the context, empty. Skips the test where there is none, or no psycopg."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL of Debian's is installed (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (see noxfile.py)")
    folder = Path(tempfile.mkdtemp(prefix="pyqs-pg-"))
    root = os.geteuid() == 0
    user = pwd.getpwnam("postgres") if root else pwd.getpwuid(os.geteuid())
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if root else {}
    os.chown(folder, user.pw_uid, user.pw_gid)
    port = free_port()
    data = str(folder / "data")

    def run(program: str, *args: str) -> None:
        command = [str(PROGRAMS[-1] / program), *args]
        log = folder / "log"
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, **as_user)
        assert done.returncode == 0, done.stderr.decode() + (log.read_text() if log.exists() else "")

    run("initdb", "-D", data, "-U", USER, "-A", "trust", "-N")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield RealPostgresql(port)
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)
