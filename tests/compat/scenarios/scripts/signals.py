"""Every signal of a worker and of a client: in which order, from which sender, with which arguments, in which process."""

from celery import bootsteps, signals
from celery.exceptions import Ignore, Reject
from stage import make_app, note

app = make_app(worker_proc_alive_timeout=30)
NAMES = (
    "before_task_publish", "after_task_publish", "task_received", "task_prerun", "task_postrun", "task_success",
    "task_failure", "task_retry", "task_internal_error", "task_revoked", "task_rejected", "task_unknown", "celeryd_init",
    "celeryd_after_setup", "import_modules", "worker_init", "worker_before_create_process", "worker_process_init",
    "worker_process_shutdown", "worker_ready", "worker_shutting_down", "worker_shutdown", "after_setup_logger",
    "after_setup_task_logger",
)  # fmt: skip


def of_sender(sender):
    if isinstance(sender, str):
        return "the node's name" if "@" in sender else sender
    name = getattr(sender, "name", None)
    return f"{type(sender).__name__} {name}" if isinstance(name, str) and "." in name else type(sender).__name__


def listen(name):
    def heard(sender=None, signal=None, **arguments):
        request = arguments.get("request") or getattr(sender, "request", None)
        about = arguments.get("task_id") or (arguments.get("headers") or {}).get("id") or getattr(request, "id", None)
        if name == "import_modules" and note_once(name):
            return
        task = arguments.get("task") or sender
        note(
            "signal",
            signal=name,
            sender=of_sender(sender),
            keys=sorted(arguments),
            about=about,
            task=getattr(task, "name", None) if name.startswith("task_") else None,
            said=[
                repr(arguments[key])[:40]
                for key in ("state", "retval", "result", "reason", "exception")
                if key in arguments and "Info" not in repr(arguments[key])
            ],
        )

    getattr(signals, name).connect(heard, weak=False)


_seen = set()


def note_once(name):
    again = name in _seen
    _seen.add(name)
    return again


for one in NAMES:
    listen(one)


@signals.task_prerun.connect(weak=False)
def raises(**kwargs):
    """What a receiver raises is logged and nothing else."""
    raise RuntimeError("a receiver's own fault")


class Probe(bootsteps.StartStopStep):
    """What a project hangs on its worker, such as a file that says that it lives."""

    requires = {"celery.worker.components:Timer"}  # noqa: RUF012 - as users write it

    def __init__(self, worker, **kwargs):
        super().__init__(worker, **kwargs)
        self.calls = None
        note("step", step="made", has=[hasattr(worker, name) for name in ("app", "hostname", "steps", "timer", "concurrency")])

    def create(self, worker):
        note("step", step="create")

    def start(self, worker):
        note("step", step="start")
        self.calls = worker.timer.call_repeatedly(0.1, self.beat, (worker,), priority=10)

    def beat(self, worker):
        if self.calls is not None:
            self.calls.cancel()
            note("step", step="beat", told="@" in worker.hostname)

    def close(self, worker):
        note("step", step="close")

    def stop(self, worker):
        note("step", step="stop")


app.steps["worker"].add(Probe)


@app.task(bind=True, name="signals.ends", max_retries=1, default_retry_delay=0)
def ends(self, end):
    note("run", about=self.request.id, end=end)
    if end == "raise":
        raise ValueError("v")
    if end == "ignore":
        raise Ignore()
    if end == "reject":
        raise Reject("r", requeue=False)
    if end == "retry" and self.request.retries == 0:
        raise self.retry(countdown=1)  # when all that follows from the first run has happened
    if end == "expired":
        raise AssertionError("it must not run")
    return "value"


def calls():
    for end in ("return", "raise", "ignore", "reject", "retry"):
        ends.apply_async((end,), task_id=f"00000000-0000-0000-0000-{end:0>12}")
    ends.apply_async(("expired",), task_id=f"00000000-0000-0000-0000-{'expired':0>12}", expires=-10)


def over(happened):
    return (
        sum(one["what"] == "run" for one in happened) >= 6
        and any(one.get("signal") == "task_revoked" for one in happened)
        and any(one.get("step") == "beat" for one in happened)
    )
