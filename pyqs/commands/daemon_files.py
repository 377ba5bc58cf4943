"""``--pidfile``, ``--logfile`` and ``--umask``: what a service's script gives a worker.

Owns: the pid file from the start to the end of the process, and the redirection of standard error. Runs in the main thread of
the worker's process, before anything is started. Never detaches, and never changes the user.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from pyqs.errors import ConfigError


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Keep the process's pid in a file while something is done.

    What a dead process has left there is replaced.

    Raises:
        ConfigError: the process whose pid is in it lives, or the file cannot be written.
    """
    if path is None:
        yield
        return
    path = os.path.abspath(path)
    try:
        _claim(path)
    except OSError as exc:
        raise ConfigError(f"--pidfile: {path} cannot be written: {exc.strerror or exc}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _pid_in(path) == os.getpid():
                os.unlink(path)


def _claim(path: str) -> None:
    draft = f"{path}.{os.getpid()}.new"
    with open(draft, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    try:
        for _ in range(2):
            try:
                os.link(draft, path)  # whole from its first moment, and never over somebody else's
                return
            except FileExistsError:
                pid = _pid_in(path)
                if pid is not None and pid != os.getpid() and lives(pid):  # ours: of a container's earlier life
                    raise ConfigError(
                        f"--pidfile: {path} has the pid {pid}, and that process lives: is this worker running already? Stop "
                        "it, or remove the file"
                    ) from None
                os.unlink(path)
        raise ConfigError(f"--pidfile: another process is making {path} at this moment")
    finally:
        os.unlink(draft)


def _pid_in(path: str) -> int | None:
    """The pid in a file; None where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def lives(pid: int) -> bool:
    """Whether there is a process of this number, ours or somebody else's."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def write_to(path: str) -> None:
    """Have what this process and its children write to standard output and standard error go to the end of a file.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as exc:
        raise ConfigError(f"--logfile: {path} cannot be written: {exc.strerror or exc}") from None
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
