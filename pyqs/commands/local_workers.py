"""Which workers live on this machine, by their heartbeat files: for ``status`` and ``inspect ping`` in a Dockerfile's
HEALTHCHECK.

Owns: the folder in which a worker that was started as ``celery worker`` has its heartbeat file, without being told of one, and
what a reader makes of the files there. The files themselves are renewed by ``pyqs.worker.heartbeat_file``. Never trusts a
folder that somebody else could write to.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from urllib.parse import quote, unquote

from pyqs.commands.daemon_files import lives

#: Seconds after which a file that was not renewed says that its worker does not live: six renewals.
STALE = 30.0


@dataclass(frozen=True, slots=True)
class LocalWorker:
    """One worker, as its file shows it.

    Parameters:
        node: its name. pid: of its process. alive: whether the file was renewed of late and the process is there.
    """

    node: str
    pid: int
    alive: bool


def folder() -> str | None:
    """The folder, made if it is not there; None where there is none that this user alone can write to."""
    path = os.path.join(tempfile.gettempdir(), f"pyqs-{os.getuid()}")
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if private else None


def file_for(node: str) -> str | None:
    """Where this process's heartbeat file is to be; None where there is no place for it."""
    home = folder()
    return home and os.path.join(home, f"{quote(node, safe='@')}.{os.getpid()}")


def workers() -> list[LocalWorker]:
    """Those in the folder, by name. The file of a process that is gone is removed."""
    home = folder()
    found = []
    for name in sorted(os.listdir(home)) if home else []:
        node, _, pid = name.rpartition(".")
        if not node or not (pid.isascii() and pid.isdigit()):
            continue
        path = os.path.join(home or "", name)
        if not lives(int(pid)):
            with contextlib.suppress(OSError):
                os.unlink(path)
            continue
        found.append(LocalWorker(unquote(node), int(pid), is_fresh(path)))
    return found


def is_fresh(path: str) -> bool:
    """Whether a heartbeat file was renewed of late."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return False
    return abs(age) < STALE
