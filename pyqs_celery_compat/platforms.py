"""What Celery asks of the operating system: signals by name, exit codes, pidfiles, file descriptors, users.

Owns: what ``celery.platforms`` has. Runs wherever a library or an app asks. Never changes the process's user and never detaches
it: a worker is started as whoever it is to be, and its supervisor does the rest.
"""

from __future__ import annotations

import errno
import os
import platform as _platform
import signal as _signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from pyqs_celery_compat.exceptions import SecurityError
from pyqs_celery_compat.local import try_import
from pyqs_celery_compat.naming import belongs_to

__all__ = [
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "IS_WINDOWS",
    "SIGMAP",
    "SYSTEM",
    "DaemonContext",
    "IS_macOS",
    "LockFailed",
    "Pidfile",
    "close_open_fds",
    "create_pidlock",
    "detached",
    "fd_by_path",
    "get_errno_name",
    "get_fdmax",
    "ignore_errno",
    "initgroups",
    "isatty",
    "maybe_drop_privileges",
    "parse_gid",
    "parse_uid",
    "pyimplementation",
    "set_mp_process_title",
    "set_process_title",
    "setgid",
    "setgroups",
    "setuid",
    "signal_name",
    "signals",
]

EX_OK, EX_FAILURE = 0, 1
EX_USAGE, EX_UNAVAILABLE, EX_CANTCREAT = 64, 69, 73
SYSTEM = _platform.system()
IS_macOS = SYSTEM == "Darwin"
IS_WINDOWS = SYSTEM == "Windows"
DAEMON_WORKDIR = "/"
PIDFILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY
PIDFILE_MODE = 0o644

SIGNAMES = {name for name in dir(_signal) if name.startswith("SIG") and "_" not in name}
SIGMAP = {getattr(_signal, name): name for name in SIGNAMES}

_NO_DAEMON = "a pyqs worker does not detach itself: have systemd, a container or another supervisor run `pyqs worker`"
_NO_DROP = "a pyqs worker does not change its user: start it as the user that it is to run as (User= in systemd)"


def pyimplementation() -> str:
    """``CPython``, ``PyPy``: which Python this is."""
    return _platform.python_implementation()


def isatty(fh: Any) -> bool:
    """Whether it is a terminal; no file is none."""
    try:
        return bool(fh.isatty())
    except AttributeError:
        return False


# -- signals ----------------------------------------------------------------------------------------------------------
class Signals:
    """``signals["INT"] = handler``: signals by name, with or without SIG; those that the system has not are left out.

    Handlers can be set in the main thread only; elsewhere nothing happens.
    """

    ignored = _signal.SIG_IGN
    default = _signal.SIG_DFL

    def signum(self, name: Any) -> int:
        """The number of a signal.

        Raises:
            TypeError: no name in capitals. AttributeError: there is no such signal.
        """
        if isinstance(name, int):
            return name
        if not isinstance(name, str) or not name.isupper():
            raise TypeError("signal name must be uppercase string.")
        return getattr(_signal, name if name.startswith("SIG") else f"SIG{name}")  # type: ignore[no-any-return]

    def supported(self, name: Any) -> bool:
        """Whether the system has this signal."""
        try:
            self.signum(name)
        except AttributeError:
            return False
        return True

    def ignore(self, *names: Any) -> None:
        """Ignore these."""
        self.update((name, self.ignored) for name in names)

    def reset(self, *names: Any) -> None:
        """Let these do what they do by default."""
        self.update((name, self.default) for name in names)

    def reset_alarm(self) -> None:
        """Cancel the alarm, if one was set."""
        _signal.alarm(0)

    def arm_alarm(self, seconds: float) -> None:
        """Have SIGALRM come in so many seconds."""
        _signal.setitimer(_signal.ITIMER_REAL, seconds)

    def __getitem__(self, name: Any) -> Any:
        return _signal.getsignal(self.signum(name))

    def __setitem__(self, name: Any, handler: Any) -> None:
        try:
            _signal.signal(self.signum(name), handler)
        except (AttributeError, ValueError):  # not there, or not the main thread
            pass

    def update(self, _d_: Any = None, **sigmap: Any) -> None:
        """Set several handlers."""
        given = _d_.items() if isinstance(_d_, Mapping) else _d_ or ()
        for name, handler in [*given, *sigmap.items()]:
            self[name] = handler


signals = Signals()
get_signal, install_signal_handler = signals.signum, signals.__setitem__
reset_signal, ignore_signal = signals.reset, signals.ignore


def signal_name(signum: Any) -> str:
    """``TERM`` for 15."""
    return SIGMAP[signum][3:]


# -- errors -----------------------------------------------------------------------------------------------------------
def get_errno_name(n: int | str) -> int:
    """The number of an error: ``ENOENT`` is 2."""
    return getattr(errno, n) if isinstance(n, str) else n


@contextmanager
def ignore_errno(*errnos: int | str, **kwargs: Any) -> Iterator[None]:
    """Swallow exceptions with one of these errors.

    Parameters:
        types: the exceptions' classes; any exception with an ``errno`` if not given.
    """
    types = kwargs.get("types") or (Exception,)
    numbers = [get_errno_name(one) for one in errnos]
    try:
        yield
    except types as exc:
        if getattr(exc, "errno", None) not in numbers:
            raise


# -- file descriptors -------------------------------------------------------------------------------------------------
def get_fdmax(default: int | None = None) -> int | None:
    """How many file descriptors this process may have; the default where the system does not say."""
    try:
        return os.sysconf("SC_OPEN_MAX")
    except (AttributeError, ValueError, OSError):
        pass
    try:
        import resource
    except ImportError:
        return default
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return default if most == resource.RLIM_INFINITY else most


def _number(fh: Any) -> int | None:
    try:
        return fh if isinstance(fh, int) else int(fh.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def close_open_fds(keep: Iterable[Any] | None = None) -> None:
    """Close every file descriptor but these files' and numbers'."""
    kept = sorted({number for number in map(_number, keep or ()) if number is not None and number >= 0})
    low = 0
    for number in kept:
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, get_fdmax(2048) or 2048)


def fd_by_path(paths: Iterable[str]) -> list[int]:
    """The file descriptors of this process that are open on these files."""
    wanted = set()
    for path in paths:
        with ignore_errno("ENOENT", types=(OSError,)):
            status = os.stat(path)
            wanted.add((status.st_dev, status.st_ino))
    found = []
    for fd in range(get_fdmax(2048) or 2048):
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in wanted:
            found.append(fd)
    return found


# -- pidfiles ---------------------------------------------------------------------------------------------------------
class LockFailed(Exception):
    """Somebody else holds the pidfile."""


class Pidfile:
    """A file that holds a process's number, and by it tells whether that one still runs.

    Parameters:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def acquire(self) -> Pidfile:
        """Write this process's number.

        Raises:
            LockFailed: the file is there, or cannot be written.
        """
        try:
            self.write_pid()
        except OSError as exc:
            raise LockFailed(str(exc)) from exc
        return self

    __enter__ = acquire

    def is_locked(self) -> bool:
        """Whether the file is there."""
        return os.path.exists(self.path)

    def release(self, *args: Any) -> None:
        """Remove the file."""
        self.remove()

    __exit__ = release

    def read_pid(self) -> int | None:
        """The number in the file; None where there is no file.

        Raises:
            ValueError: it holds no number, or half of one.
        """
        with ignore_errno("ENOENT", types=(OSError,)), open(self.path, encoding="utf-8") as file:
            line = file.readline()
            if not line.endswith("\n"):
                raise ValueError(f"Partial or invalid pidfile {self.path}")
            try:
                return int(line.strip())
            except ValueError:
                raise ValueError(f"pidfile {self.path} contents invalid.") from None
        return None

    def remove(self) -> None:
        """Remove the file, if it is there and may be."""
        with ignore_errno("ENOENT", "EACCES", types=(OSError,)):
            os.unlink(self.path)

    def remove_if_stale(self) -> bool:
        """Remove it if its process does not run, or is this one; True if there is none then."""
        try:
            pid = self.read_pid()
        except ValueError:
            print("Broken pidfile found - Removing it.", file=sys.stderr)
            self.remove()
            return True
        if not pid or pid == os.getpid():
            self.remove()
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            print("Stale pidfile exists - Removing it.", file=sys.stderr)
            self.remove()
            return True
        except PermissionError:
            pass
        return False

    def write_pid(self) -> None:
        """Write this process's number into a new file."""
        fd = os.open(self.path, PIDFILE_FLAGS, PIDFILE_MODE)
        with os.fdopen(fd, "w") as file:
            file.write(f"{os.getpid()}\n")
            file.flush()
            os.fsync(file.fileno())


PIDFile = Pidfile


def create_pidlock(pidfile: str) -> Pidfile:
    """A pidfile with this process's number, removed when the interpreter ends. Raises SystemExit where one is held."""
    import atexit

    lock = Pidfile(pidfile)
    if lock.is_locked() and not lock.remove_if_stale():
        print(f"ERROR: Pidfile ({pidfile}) already exists (pid: {lock.read_pid()})", file=sys.stderr)
        raise SystemExit(EX_CANTCREAT)
    lock.acquire()
    atexit.register(lock.release)
    return lock


# -- users, daemons, titles -------------------------------------------------------------------------------------------
def parse_uid(uid: int | str) -> int:
    """A user's number, from that or the name. Raises KeyError where there is no such user."""
    try:
        return int(uid)
    except ValueError:
        import pwd

        try:
            return pwd.getpwnam(str(uid)).pw_uid
        except KeyError:
            raise KeyError(f"User does not exist: {uid}") from None


def parse_gid(gid: int | str) -> int:
    """A group's number, from that or the name. Raises KeyError where there is no such group."""
    try:
        return int(gid)
    except ValueError:
        import grp

        try:
            return grp.getgrnam(str(gid)).gr_gid
        except KeyError:
            raise KeyError(f"Group does not exist: {gid}") from None


def _never(why: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise SecurityError(why)

    return refuse


setgid, setuid, setgroups, initgroups = (_never(_NO_DROP) for _ in range(4))


def maybe_drop_privileges(uid: Any = None, gid: Any = None) -> None:
    """Nothing where nothing is asked for. Raises SecurityError where a user or group is named."""
    if uid or gid:
        raise SecurityError(_NO_DROP)


class DaemonContext:
    """What detaches a process in Celery; here only ``fake`` ones can be made, which do nothing."""

    def __init__(self, *args: Any, fake: bool = False, **kwargs: Any) -> None:
        if not fake:
            raise NotImplementedError(_NO_DAEMON)

    def open(self) -> None:
        """Nothing."""

    def close(self, *args: Any) -> None:
        """Nothing."""

    def __enter__(self) -> DaemonContext:
        return self

    __exit__ = close


def detached(*args: Any, fake: bool = False, **opts: Any) -> DaemonContext:
    """A ``DaemonContext``."""
    return DaemonContext(fake=fake)


def strargv(argv: list[str]) -> str:
    """The command line's arguments as text; of Django's ``manage.py`` without the subcommand."""
    return " ".join(argv[2 if "manage" in argv[0] else 1 :])


def set_process_title(progname: str, info: str | None = None) -> str:
    """The title in Celery's form; set where ``setproctitle`` is installed."""
    title = f"[{progname}]" if info is None else f"[{progname}] {info}"
    setproctitle = try_import("setproctitle")
    if setproctitle is not None:
        setproctitle.setproctitle(title)
    return title


def set_mp_process_title(progname: str, info: str | None = None, hostname: str | None = None) -> str:
    """The same with the host's and the process's names."""
    import multiprocessing

    if hostname:
        progname = f"{progname}: {hostname}"
    return set_process_title(f"{progname}:{multiprocessing.current_process().name}", info=info)


belongs_to("celery.platforms", LockFailed)
