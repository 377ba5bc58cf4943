"""What becomes of a message, by how its task is acknowledged and how it ends: how often it ran, who was told, what is left."""

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from stage import make_app, note, notes

app = make_app()
SETTINGS = {
    "early": {},
    "late": {"acks_late": True},
    "late_keeps_failures": {"acks_late": True, "acks_on_failure_or_timeout": False},
    "early_keeps_failures": {"acks_on_failure_or_timeout": False},
    "late_lost": {"acks_late": True, "reject_on_worker_lost": True},
}
ENDS = (
    "return",
    "raise",
    "throws",
    "Ignore",
    "Reject",
    "Reject requeue",
    "Retry",
    "gives up",
    "soft limit",
    "sends and raises",
)


class Told(app.Task):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        note("before_start", call=args[0])

    def on_success(self, retval, task_id, args, kwargs):
        note("on_success", call=args[0], value=repr(retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", call=args[0], exc=repr(exc), einfo=type(einfo.exception).__name__)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("on_retry", call=args[0], exc=repr(exc))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", call=args[0], status=status, value=repr(retval), einfo=einfo is not None)


def make(name):
    @app.task(
        name="acks." + name, base=Told, bind=True, max_retries=1, default_retry_delay=0, throws=(LookupError,), **SETTINGS[name]
    )
    def ends(self, call, end):
        first = not any(one["what"] == "run" and one["call"] == call for one in notes())
        note("run", call=call, retries=self.request.retries)
        if end == "raise":
            raise ValueError(call)
        if end == "throws":
            raise KeyError(call)
        if end == "Ignore":
            raise Ignore("why")
        if end == "Reject":
            raise Reject("why", requeue=False)
        if end == "Reject requeue" and first:
            raise Reject("why", requeue=True)
        if end == "Retry" and first:
            raise self.retry()
        if end == "gives up":
            raise self.retry(exc=ValueError(call))
        if end == "soft limit":
            raise SoftTimeLimitExceeded()
        if end == "sends and raises":
            TASKS["late"].delay(call + ": sent", "return")
            raise ValueError(call)
        return 42

    return ends


TASKS = {name: make(name) for name in SETTINGS}


def kept(name, end):
    """Whether the message of such a call is never done with: each run of it ends in the same way."""
    fails = end in ("raise", "throws", "gives up", "soft limit", "sends and raises")
    return name == "late_keeps_failures" and fails


def twice(name, end):
    """Whether it runs again. A message that is gone cannot be put back."""
    return end in ("Retry", "gives up") or (end == "Reject requeue" and name.startswith("late"))


def calls():
    for name, task in TASKS.items():
        for end in ENDS:
            if not kept(name, end):
                task.delay(f"{name}: {end}", end)


def over(happened):
    runs = [one["call"] for one in happened if one["what"] == "run"]
    ended = {one["call"] for one in happened if one["what"] == "after_return"}
    wanted = [f"{name}: {end}" for name in TASKS for end in ENDS for _ in range(1 + twice(name, end)) if not kept(name, end)]
    wanted += [f"{name}: sends and raises: sent" for name in TASKS if not kept(name, "sends and raises")]
    finished = {call for call in wanted if "Ignore" not in call and "Reject" not in call}
    return len(runs) >= len(wanted) and ended >= finished
