"""Calls that run at once, in the caller: ``apply()`` and ``task_always_eager``. Needs no worker."""

from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from stage import make_app, note

app = make_app()


class Told(app.Task):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        note("before_start", call=self.name)

    def on_success(self, retval, task_id, args, kwargs):
        note("on_success", call=self.name, value=repr(retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", call=self.name, exc=repr(exc))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("on_retry", call=self.name, exc=repr(exc))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", call=self.name, status=status, value=repr(retval))


def task(**options):
    options = {"default_retry_delay": 0, "max_retries": 1, "base": Told, "bind": True, **options}
    return lambda function: app.task(name="eager." + function.__name__, **options)(function)


@task()
def adds(self, a, b=2):
    request = self.request
    note(
        "request",
        call=self.name,
        eager=request.is_eager,
        direct=request.called_directly,
        retries=request.retries,
        args=repr(request.args),
        kwargs=repr(request.kwargs),
        info=repr(request.delivery_info),
        host=bool(request.hostname),
        headers=repr(request.headers),
        logfile=repr(getattr(request, "logfile", None)),
        loglevel=repr(getattr(request, "loglevel", None)),
        ignore=repr(request.ignore_result),
        root=request.root_id == request.id,
        parent=repr(request.parent_id),
        correlation=request.correlation_id == request.id,
        reply=repr(bool(request.reply_to)),
        expires=repr(request.expires),
    )
    return a + b


@task()
def fails(self):
    raise ValueError("no")


@task(throws=(KeyError,))
def expected(self):
    raise KeyError("yes")


@task()
def ignores(self):
    raise Ignore("i")


@task()
def rejects(self):
    raise Reject("r")


@task()
def retries(self):
    note("retries", number=self.request.retries, max=self.max_retries)
    raise self.retry(exc=ValueError("again"))


@task()
def retries_until_it_works(self):
    if self.request.retries == 0:
        raise self.retry(countdown=1000)
    return "worked"


@task(autoretry_for=(ValueError,))
def by_itself(self):
    note("retries", number=self.request.retries)
    raise ValueError("auto")


@task()
def exits(self):
    raise SystemExit(3)


@task()
def calls_another(self):
    inner = adds.delay(1)
    if type(inner).__name__ != "EagerResult":
        return "sent"
    note("inner", kind=type(inner).__name__, value=repr(inner.result), root=adds.request.root_id)
    return inner.get(disable_sync_subtasks=False)


@task(typing=False)
def untyped(self, a):
    return a


TASKS = (fails, expected, ignores, rejects, retries, retries_until_it_works, by_itself, calls_another)
FACTS = (
    "state",
    "status",
    "result",
    "traceback",
    "ignored",
    "name",
    "args",
    "kwargs",
    "worker",
    "retries",
    "queue",
    "date_done",
)


def said(call, *, words=True):
    """What came of a call: its result's attributes, or what it raised, without ``words`` only the kind of that."""
    try:
        result = call()
    except BaseException as exc:
        return {"raised": type(exc).__name__, "said": str(exc)[:60].partition("[")[0] if words else ""}
    found = {"kind": type(result).__name__}
    for name in FACTS:
        value = getattr(result, name, "-- AttributeError --")
        if name == "traceback":
            found[name] = (value or "").strip().splitlines()[-1:]
        elif name == "date_done":
            found[name] = type(value).__name__
        else:
            found[name] = repr(value)
    for name in ("ready", "successful", "failed"):
        found[name] = getattr(result, name)()
    for name, options in (("get", {}), ("get quietly", {"propagate": False})):
        try:
            found[name] = repr(result.get(timeout=1, **options))
        except BaseException as exc:
            found[name] = f"raised {type(exc).__name__}: {str(exc)[:60]}".partition("[")[0]
    found["repr"] = repr(result).replace(result.id, "<id>")
    found["id"] = len(result.id)
    return found


def calls():
    note("said", call="apply", **said(lambda: adds.apply((1,))))
    note("said", call="apply with kwargs", **said(lambda: adds.apply((1,), {"b": 5}, headers={"x": 1}, expires=3)))
    note("said", call="apply with id", **said(lambda: adds.apply((1,), task_id="1" * 36)))
    for one in TASKS:
        note("said", call=f"apply {one.name}", **said(one.apply))
        note("said", call=f"apply {one.name} throw", **said(lambda one=one: one.apply(throw=True)))
    note("said", call="apply exits", **said(exits.apply))
    note("said", call="apply bad args", **said(adds.apply))
    note("direct", value=adds(3, 4))
    note("said", call="direct retry", **said(retries))
    app.conf.task_always_eager = True
    for one in TASKS:
        note("said", call=f"delay {one.name}", **said(one.delay))
    note("said", call="delay adds", **said(lambda: adds.delay(1)))
    note("said", call="delay bad args", **said(lambda: adds.delay(), words=False))
    note("said", call="delay untyped bad args", **said(lambda: untyped.delay()))
    note("said", call="delay unserializable", **said(lambda: adds.delay(1, b=object).get(), words=False))
    note(
        "said",
        call="send_task",
        **said(lambda: app.send_task("eager.adds", (1,), queue="x").forget() if False else adds.delay(9)),
    )
    note("said", call="countdown", **said(lambda: adds.apply_async((1,), countdown=60)))
    note("said", call="linked", **said(lambda: adds.apply_async((1,), link=untyped_link.s())))
    note("said", call="signature", **said(lambda: adds.s(7).delay()))
    app.conf.task_eager_propagates = True
    for one in TASKS:
        note("said", call=f"propagating {one.name}", **said(one.delay))
    note("exceeded", says=issubclass(MaxRetriesExceededError, Exception), retry=issubclass(Retry, Exception))


@task()
def untyped_link(self, value):
    note("linked", value=value)


def over(happened):
    return True
