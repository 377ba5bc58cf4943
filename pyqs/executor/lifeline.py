"""What a child process owes its worker: to shrug off signals meant for the worker, and to end when it ends.

Owns: the signals, the process group and the lifeline of the forkserver and of each executor. Runs in the main thread of
a child, before anything of the app is imported. Never kills a process outside its own group.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import sys

#: Without the enum that ``signal.getsignal`` looks for in vain: it is called after every task.
from _signal import getsignal  # type: ignore[import-not-found]
from types import FrameType

#: File descriptors of ours live from here up (or from half of a lower limit): out of the way of a task that closes
#: "everything above 2" in a short loop, and of numbers that are soon handed out again.
_HIGH_FD = 512


def own_signals() -> None:
    """Make SIGINT and SIGTERM harmless here and lead a process group of our own. Main thread only.

    A handler that does nothing, not SIG_IGN: what a task starts would inherit that and could not be terminated. The group
    keeps Ctrl-C away, and lets the worker kill an executor together with what its task has started.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _nothing)
        signal.siginterrupt(number, False)  # C code in a task that does not retry on EINTR is none the wiser
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGIO})
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def keep_signals() -> None:
    """Take SIGINT and SIGTERM back if a task has changed them. Main thread only."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if getsignal(number) is not _nothing:
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)


def move_up(fd: int) -> int:
    """A copy of ``fd`` with a high number that no program started from here inherits; ``fd`` itself is closed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _HIGH_FD if soft == resource.RLIM_INFINITY else min(_HIGH_FD, soft // 2)
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return copy


def own_pipe(fd: int) -> int:
    """An open file of our own on the pipe behind ``fd``, which is closed.

    The owner of O_ASYNC's signal belongs to the open file, and one that came over a socket is shared with whoever sent it.
    """
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no Linux, no /proc: right as long as the sender gives each child a pipe of its own
        return move_up(fd)
    os.close(fd)
    return move_up(own)


def end_with(fd: int) -> None:
    """End this process group when the last writer of the pipe ``fd`` has gone, whatever this process is doing then.

    With O_ASYNC the kernel sends a signal when the pipe is closed, which ends even a process whose C code holds the GIL; the
    pipe's EOF alone would reach only one that reads. On Linux the signal is SIGKILL (F_SETSIG), which no task can handle.
    See fcntl(2), "I/O signals".
    """
    leader = os.getpgrp() == os.getpid()
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpid() if leader else os.getpid())
    if sys.platform == "linux":
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([fd], [], [], 0)[0]:  # nothing is signalled for what happened before
        end_group()


def end_group() -> None:
    """End this process and what it has started, at once."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    """A signal that is the worker's to act on."""
