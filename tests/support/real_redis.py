"""A Redis of one test, as a real server."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import wait_until


class RealRedis:
    """Debian's redis-server on a socket, so that no port is taken; nothing is written to disk.

    Parameters:
        folder: where its socket is. port: of the loopback, for who cannot do without; 0 for none.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port
        self._socket = folder / "redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As a broker or a result backend of Celery's."""
        return f"redis+socket://{self._socket}"

    def start(self) -> None:
        """Start it, empty."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
        self._process = subprocess.Popen(
            [
                program, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self._socket), "--save", "",
                "--dir", str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._socket.exists)

    def stop(self) -> None:
        """End it, with all that it has kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)


@contextlib.contextmanager
def running(folder: Path, port: int = 0) -> Iterator[RealRedis]:
    """One that runs inside the context."""
    server = RealRedis(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
