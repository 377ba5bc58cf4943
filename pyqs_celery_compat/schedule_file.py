"""The schedule file: Celery's shelf, read and written by either side, and by one beat at a time.

Owns: ``open``, ``move_aside``, ``ScheduleInUse``, ``Unusable``. Runs in beat. Classes are pickled under Celery's names, with
the alias or without, and read by them as ours. The file is trusted as Celery's is: whoever can write to it can run code in
beat. Never deletes a file.
"""

from __future__ import annotations

import contextlib
import dbm
import errno
import importlib
import io
import os
import pickle
import shelve
import sys
import time
from collections.abc import Iterator
from types import FunctionType
from typing import Any, ClassVar

from pyqs_celery_compat import aliases
from pyqs_celery_compat.dumb_file import DumbFile
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if sys.platform != "win32":
    import fcntl

#: What every supported Python reads.
PROTOCOL = 4
#: What the kinds of ``dbm`` put behind a name.
SUFFIXES = ("", ".db", ".dat", ".bak", ".dir", "-wal", "-shm")
#: Not the file's fault: it stays, and beat does not start.
_NOT_ITS_FAULT = {
    errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE,
    errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ENAMETOOLONG,
}  # fmt: skip
#: Where Celery has what is in modules of ours alone.
_HOMES = {
    f"{aliases.OURS}.{name}": "celery.schedules" for name in ("base_schedule", "crontab", "crontab_parser", "solar")
}  # fmt: skip
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK}


class Unusable(ImproperlyConfigured):
    """The schedule file cannot be opened or written, by no fault of what is in it."""


class ScheduleInUse(Unusable):
    """Another beat has the schedule file."""


def open(filename: str, writeback: bool = True) -> ScheduleShelf:
    """The shelf of this name, made if it is not there; nobody else has it until it is closed.

    Raises:
        ScheduleInUse: another beat has it. Unusable: it may not be read or written here.
        Exception: what ``dbm`` says of a file that it cannot read.
    """
    lock = _Lock(f"{filename}.lock")
    try:
        return ScheduleShelf(_opened(filename), lock, writeback)
    except BaseException:
        lock.release()
        raise


def move_aside(filename: str) -> list[str]:
    """Give what there is of the shelf another name; the new names.

    Raises:
        ScheduleInUse: somebody else has it, and so has got it right meanwhile. Unusable: it cannot be moved.
    """
    moved = []
    stem = f"{filename}.unreadable-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    lock = _Lock(f"{filename}.lock")
    try:
        for suffix in SUFFIXES:
            if os.path.exists(filename + suffix):
                with _told(filename):
                    os.replace(filename + suffix, stem + suffix)
                moved.append(stem + suffix)
    finally:
        lock.release()
    return moved


class ScheduleShelf(shelve.Shelf[Any]):
    """A shelf whose pickles have Celery's names in them.

    Parameters:
        dict: of bytes. lock: released when the shelf is closed. writeback: values that were read are written by ``sync``.
    """

    cache: Any
    dict: Any
    writeback: bool

    def __init__(self, dict: Any, lock: _Lock, writeback: bool) -> None:
        super().__init__(dict, protocol=PROTOCOL, writeback=writeback)
        self._lock = lock

    def __getitem__(self, key: str) -> Any:
        if key not in self.cache:
            value = _Unpickler(io.BytesIO(self.dict[key.encode()])).load()
            if not self.writeback:
                return value
            self.cache[key] = value
        return self.cache[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if self.writeback:
            self.cache[key] = value
        self._write(key, value)

    def _write(self, key: str, value: Any) -> None:
        data = _pickled(value)
        if self.dict.get(key.encode()) != data:
            self.dict[key.encode()] = data

    def sync(self) -> None:
        """Write what was read or put in, and keep it at hand."""
        for key, value in self.cache.items():
            self._write(key, value)
        if hasattr(self.dict, "sync"):
            self.dict.sync()

    def close(self) -> None:
        """Write it and let it go, so that others may have it."""
        try:
            super().close()
        finally:
            self.cache.clear()
            self._lock.release()


class _Lock:
    """A lock on a file beside the shelf, which the kernel releases when this process ends, however it does.

    Raises:
        ScheduleInUse: somebody has it. Unusable: the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._fd: int | None = None
        with _told(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if sys.platform != "win32":
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise _in_use(path.removesuffix(".lock"), f" (process {holder})" if holder else "") from None
        except OSError as exc:
            os.close(fd)
            raise Unusable(f"{path} cannot be locked, so that another beat might use the schedule file, too: {exc}") from exc
        self._fd = fd

    def release(self) -> None:
        """Let others have it. The file stays: to remove it would take it from under somebody who waits."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _in_use(filename: str, by: str) -> ScheduleInUse:
    return ScheduleInUse(
        f"another beat{by} has the schedule file {filename}: two would send everything twice. Stop it, or give this one a file "
        "of its own with -s if it is another app's"
    )


def _opened(filename: str) -> Any:
    with _told(filename):
        if DumbFile.exists(filename) or (dbm.whichdb(filename) is None and _usual_kind() == "dbm.dumb"):
            return DumbFile(filename)
        return dbm.open(filename, "c")


@contextlib.contextmanager
def _told(filename: str) -> Iterator[None]:
    """Errors that are not the file's fault, as ``Unusable``."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _HELD:  # gdbm's own lock: Celery's beat
            raise _in_use(filename, "") from exc
        if exc.errno in _NOT_ITS_FAULT:
            raise Unusable(f"the schedule file {filename} cannot be used: {exc}; -s names another place") from exc
        raise


def _usual_kind() -> str:
    """The kind of file that ``dbm.open`` makes here."""
    kinds = ("dbm.sqlite3", "dbm.gnu", "dbm.ndbm")
    for kind in kinds if sys.version_info >= (3, 13) else kinds[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(kind)
            return kind
    return "dbm.dumb"


# -- names ----------------------------------------------------------------------------------------------------------------
class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _ours(module, name)
        return super().find_class(module, name) if found is None else found


_PythonsPickler: Any = pickle._Pickler  # type: ignore[attr-defined, unused-ignore]


class _NamingPickler(_PythonsPickler):  # type: ignore[misc]
    """Writes our classes by Celery's names, also where those lead to somebody else's class or to none."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a class or function by its name."""
        qualified = name or getattr(obj, "__qualname__", obj.__name__)
        said = getattr(obj, "__module__", None) or ""
        module = said if said.startswith("celery.") else _HOMES.get(said) or aliases.celerys(said)
        if module is None or _ours(module, qualified) is not obj:
            super().save_global(obj, name)
            return
        self.save(module)
        self.save(qualified)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar = {**_PythonsPickler.dispatch, FunctionType: save_global}


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    _NamingPickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def _ours(module: str, name: str) -> Any:
    """What this package has under a name of Celery's; None if it has nothing there."""
    home = aliases.ours(module)
    if home is None:
        return None
    try:
        found: Any = importlib.import_module(home)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found
