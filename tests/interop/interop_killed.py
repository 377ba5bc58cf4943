"""Tasks that are killed, and everything that hears of it: the same module in a worker of ours and in one of Celery's.

Each event appends one line of JSON to the file in ``INTEROP_OUT``. ``python interop_killed.py`` calls the tasks.
"""

import json
import os
import signal
import sys
import time

from interop_tasks import QUEUE, app

OURS = os.environ.get("INTEROP_PEER") != "celery"
if OURS:
    from pyqs_celery_compat import signals
else:
    from celery import signals

#: Processes that have run a task: what happens in none of them happens in the process that holds the app.
ran_here = []


def note(what, task_id="", **more):
    with open(os.environ["INTEROP_OUT"], "a", encoding="utf-8") as out:
        out.write(json.dumps(dict({"what": what, "id": task_id, "child": bool(ran_here)}, **more)) + "\n")


SETTINGS = {
    "early": {},
    "late": {"acks_late": True},
    "neither": {"acks_late": True, "acks_on_failure_or_timeout": False},
    "no_timeout": {"acks_late": True, "acks_on_timeout": False},
    "no_failure": {"acks_late": True, "acks_on_failure": False},
    "again": {"acks_late": True, "reject_on_worker_lost": True},
    "again_neither": {"acks_late": True, "reject_on_worker_lost": True, "acks_on_failure_or_timeout": False},
    "early_again": {"reject_on_worker_lost": True},
    "early_neither": {"acks_on_failure_or_timeout": False},
}
ENDS = ("timeout", "exit", "kill")


class Told(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", task_id, exc=type(exc).__name__, said=str(exc), args=list(args), einfo=einfo is not None)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", task_id, status=status, exc=type(retval).__name__, einfo=einfo is not None)


def make(name):
    @app.task(name="killed." + name, base=Told, bind=True, time_limit=60, **SETTINGS[name])
    def killed(self, end):
        ran_here.append(1)
        note("run", self.request.id)
        if self.request.id in seen():
            return  # the second time
        if end == "timeout":
            time.sleep(60)
        if end == "exit":
            os._exit(3)
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    return killed


def seen():
    """Tasks that have run more than once."""
    with open(os.environ["INTEROP_OUT"], encoding="utf-8") as out:
        runs = [found["id"] for found in map(json.loads, out) if found["what"] == "run"]
    return {one for one in runs if runs.count(one) > 1}


TASKS = {name: make(name) for name in SETTINGS}


@app.task(name="killed.errback")
def errback(task_id):
    """The kind that is published: it takes the task's id only."""
    note("errback", task_id)


@app.task(name="killed.called")
def called(request, exc, traceback):
    """The kind that is called where the failure is seen."""
    note("called", request.id, exc=type(exc).__name__, traceback=bool(traceback))


@signals.task_failure.connect
def failed(sender=None, task_id=None, exception=None, args=None, kwargs=None, traceback=None, einfo=None, **rest):
    note(
        "task_failure",
        task_id,
        exc=type(exception).__name__,
        sender=sender.name,
        args=list(args),
        kwargs=dict(kwargs),
        traceback=type(traceback).__name__,
        einfo=einfo is not None,
        request=sender.request.id == task_id,
    )


@signals.task_postrun.connect
def postrun(task_id=None, **rest):
    if task_id and task_id.split("-")[-1] in ENDS:
        note("task_postrun", task_id, second=task_id in seen())


def listen(name):
    def heard(sender=None, **more):
        more.pop("signal")
        plain = {k: v if isinstance(v, (str, int, float, type(None))) else type(v).__name__ for k, v in more.items()}
        note(name, sender=sender if isinstance(sender, str) else type(sender).__name__, named=plain)

    getattr(signals, name).connect(heard, weak=False)


for signal_name in (
    "celeryd_init",
    "celeryd_after_setup",
    "worker_init",
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
):
    listen(signal_name)


def main():
    for name, task in TASKS.items():
        for end in ENDS:
            limit = {"time_limit": 1} if end == "timeout" else {}
            task.apply_async((end,), task_id=name + "-" + end, link_error=[errback.s(), called.s()], queue=QUEUE, **limit)
    print(json.dumps({"lines": []}))


if __name__ == "__main__":
    sys.exit(main())
