"""The tasks of the chaos suite, one source for native pyqs, the compat package and real Celery (``CHAOS_FACE``).

Each start and each end is one record of ``CHAOS_LEDGER``: JSON, padded to 128 bytes and appended by one write, so that no
record crosses a page and a SIGKILL cannot cut one. Numbers name tasks, because a message's id changes when it hops.
"""

import asyncio
import ctypes
import functools
import json
import os
import resource
import signal
import threading
import time

RECORD = 128
FACE = os.environ["CHAOS_FACE"]

if FACE.startswith("native"):
    from pyqs import task

    def chaos_task(name):
        return task(queue="chaos", custom_function_path=name)

else:
    if FACE.startswith("celery"):
        from celery import Celery
    else:
        from pyqs_celery_compat import Celery

    app = Celery("chaos", broker="sqs://" + os.environ.get("CHAOS_KEYS", "test:test@") + os.environ["CHAOS_BROKER"])
    app.conf.update(
        broker_transport_options={"region": "us-east-1", "visibility_timeout": int(os.environ["CHAOS_LEASE"])},
        task_default_queue="chaos",
        task_acks_late=FACE.endswith("late"),
        task_reject_on_worker_lost=FACE.endswith("late"),
        task_ignore_result=True,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )
    if "CHAOS_BACKEND" in os.environ:
        app.conf.update(task_ignore_result=False, result_backend=os.environ["CHAOS_BACKEND"])

    def chaos_task(name):
        return app.task(name=name)


def with_pauses(function):
    """A task that is written as a generator of the seconds which it waits: a plain one, or a coroutine."""

    @functools.wraps(function)
    def plain(*args):
        pauses = function(*args)
        while True:
            try:
                time.sleep(next(pauses))
            except StopIteration as end:
                return end.value

    @functools.wraps(function)
    async def coroutine(*args):
        pauses = function(*args)
        while True:
            try:
                await asyncio.sleep(next(pauses))
            except StopIteration as end:
                return end.value

    return coroutine if "-async" in FACE else plain


_fd = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(number, event, **more):
    """Append one record."""
    record = {"n": number, "e": event, "pid": os.getpid(), "w": os.environ["CHAOS_WORKER"], "wall": round(time.time(), 3)}
    record["t"] = time.clock_gettime(time.CLOCK_BOOTTIME)
    record.update(more)
    os.write(_fd, json.dumps(record, separators=(",", ":")).encode().ljust(RECORD - 1) + b"\n")


def first_time(number):
    """Whether nobody has asked this for this task before, in any process."""
    try:
        os.close(os.open(os.environ["CHAOS_LEDGER"] + ".once." + str(number), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@chaos_task("chaos.work")
@with_pauses
def work(number, seconds):
    """Takes so long."""
    note(number, "start")
    yield seconds
    note(number, "end")


@chaos_task("chaos.grip")
def grip(number, seconds):
    """Takes so long, in C, with the GIL held."""
    note(number, "start")
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1_000_000)))
    note(number, "end")


@chaos_task("chaos.fail")
@with_pauses
def fail(number, seconds, times=1):
    """Fails the first ``times`` times (one file each), then ends well."""
    note(number, "start")
    yield seconds
    if any(first_time("%s.%s" % (number, one)) for one in range(times)):  # noqa: UP031
        note(number, "fail")
        raise ValueError("on purpose")
    note(number, "end")


@chaos_task("chaos.die")
@with_pauses
def die(number, seconds, how):
    """Takes its process down the first time it runs, and ends well after that."""
    note(number, "start")
    yield seconds
    if first_time(number):
        note(number, "die")
        DEATHS[how]()
    note(number, "end")


def fuse(number, seconds):
    """Die so long from now, the first time that this is asked for the task: in it, or in what the worker does after it."""
    if seconds and first_time(number):
        note(number, "fuse")
        threading.Timer(seconds, by_kill).start()


@chaos_task("chaos.part")
@with_pauses
def part(number, seconds, until_death):
    """One of a chord's header."""
    note(number, "start")
    yield seconds
    fuse(number, until_death)
    note(number, "end")
    return number


def by_kill():
    os.kill(os.getpid(), signal.SIGKILL)


def by_segfault():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def by_exit():
    os._exit(3)


def by_memory():
    """As the kernel's OOM killer does it: memory grows until somebody outside sends SIGKILL.

    The outsider is a forked process with a limit of its own, as no test may bring the whole machine out of memory.
    """
    limit = _resident(os.getpid()) + 128 * 1024 * 1024
    victim = os.getpid()
    if os.fork() == 0:
        while _resident(victim) < limit:
            time.sleep(0.002)
        os.kill(victim, signal.SIGKILL)
        os._exit(0)
    balloon = []
    while len(balloon) < 2048:
        balloon.append(b"x" * (1024 * 1024))
        time.sleep(0.001)


if not FACE.startswith("native"):

    @app.task(name="chaos.body", bind=True)
    def body(self, found, number, header):
        """A chord's body: whether its id is the one that it was given, and what it gets is what its header gave, in order."""
        note(number, "start")
        note(number, "end" if self.request.id == body_id(number) and found == header else "fail")

    @app.task(name="chaos.again", bind=True, max_retries=1)
    def again(self, number, seconds):
        """Retries itself once."""
        note(number, "start")
        time.sleep(seconds)
        if not self.request.retries:
            note(number, "fail")
            raise self.retry(countdown=1)
        note(number, "end")


def body_id(number):
    """The id of a chord's body."""
    return "body-%d" % number  # noqa: UP031


def _resident(pid):
    """Bytes of a process in memory."""
    with open("/proc/%d/statm" % pid) as statm:  # noqa: UP031
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


DEATHS = {"kill": by_kill, "segfault": by_segfault, "exit": by_exit, "memory": by_memory}
