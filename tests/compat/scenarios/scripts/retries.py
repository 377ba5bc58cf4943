"""Every way to try again: what each run sees, when the next is due, and how it ends."""

import datetime

from celery.exceptions import MaxRetriesExceededError, Reject, Retry
from stage import make_app, note

app = make_app()


class Odd(Exception):
    """It cannot be made from its own args."""

    def __init__(self, a, b):
        super().__init__("odd")
        self.a, self.b = a, b


class Told(app.Task):
    abstract = True

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", call=self.name, exc=repr(exc))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("on_retry", call=self.name, exc=repr(exc), kind=type(exc).__name__, when=str(getattr(exc, "when", None))[:1])


def begin(self, *args, **kwargs):
    request = self.request
    note(
        "run",
        call=self.name,
        retries=request.retries,
        args=repr(args),
        kwargs=repr(kwargs),
        due=request.eta is not None,
        queue=(request.delivery_info or {}).get("routing_key"),
        limits=repr(request.timelimit),
        shadow=request.shadow,
        headers=sorted(key for key in (request.headers or {}) if key.startswith("x-")),
        priority=repr((request.delivery_info or {}).get("priority")),
    )


TASKS = []


def task(**options):
    options = {"default_retry_delay": 0, "max_retries": 1, "base": Told, "bind": True, **options}

    def made(function):
        done = app.task(name="retries." + function.__name__, **options)(function)
        TASKS.append(done)
        return done

    return made


@task()
def plainly(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry()


@task()
def with_exc(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry(exc=ValueError("mine"))


@task()
def within_except(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    try:
        raise KeyError("k")
    except KeyError:
        raise self.retry()  # noqa: B904 - as users write it


@task()
def does_not_throw(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries == 0:
        made = self.retry(throw=False, countdown=1)  # it ends before
        note("retry", call=self.name, kind=type(made).__name__, said=str(made)[:20])
        return "went on"
    return "done"


@task(max_retries=0)
def never(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry(exc=ValueError("once"))


@task(max_retries=None)
def without_end(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries < 5:
        raise self.retry()


@task(max_retries=5)
def told_another_number(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry(max_retries=1)


@task()
def other_arguments(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries == 0:
        raise self.retry(args=("new",), kwargs={"b": 2})


@task()
def with_options(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries == 0:
        raise self.retry(countdown=0, priority=5, time_limit=33, soft_time_limit=22, shadow="shadowed", headers={"x-retry": 1})


@task()
def with_eta(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries == 0:
        raise self.retry(eta=datetime.datetime.now(datetime.timezone.utc))


@task()
def gives_up_itself(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    try:
        self.retry()
    except MaxRetriesExceededError as exc:
        note("gave up", call=self.name, said=str(exc).replace(self.request.id, "<id>"), args=repr(exc.task_args))
        raise Reject("given up", requeue=False) from exc


@task()
def swallows(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    try:
        self.retry()
    except Retry as exc:
        note("swallowed", call=self.name, kind=type(exc).__name__, kept=repr(exc.exc))
    except MaxRetriesExceededError:
        note("exceeded", call=self.name)
    return "returned"


@task()
def raises_retry(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    if self.request.retries == 0:
        raise Retry("by hand")


@task()
def odd_exception(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry(exc=Odd(1, 2))


@task(autoretry_for=(ValueError,))
def by_itself(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise ValueError("auto")


@task(autoretry_for=(ValueError,))
def by_itself_not_for_others(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise KeyError("other")


@task(autoretry_for=(Exception,), dont_autoretry_for=(KeyError,))
def by_itself_but_for_one(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise KeyError("left out")


@task(autoretry_for=(Exception,), retry_kwargs={"max_retries": 2, "countdown": 0}, max_retries=9)
def by_itself_with_kwargs(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise ValueError("auto")


@task(autoretry_for=(Exception,), retry_backoff=True, retry_jitter=False, max_retries=1)
def by_itself_later_each_time(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise ValueError("auto")


@task(autoretry_for=(ValueError,), throws=(ValueError,))
def by_itself_and_expected(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise ValueError("auto")


@task(autoretry_for=(Exception,))
def by_itself_around_a_retry(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise self.retry(exc=KeyError("explicit"))


@task(autoretry_for=(Exception,))
def by_itself_around_a_reject(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise Reject("no", requeue=False)


class Based(Told):
    abstract = True
    autoretry_for = (ValueError,)
    retry_kwargs = {"max_retries": 1}  # noqa: RUF012 - as users write it
    default_retry_delay = 0


@app.task(base=Based, bind=True, name="retries.options_of_its_base")
def options_of_its_base(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    raise ValueError("base")


def calls():
    for one in [*TASKS, options_of_its_base]:
        one.apply_async(("a", 1), {"k": "v"}, headers={"x-call": 1})


#: Runs of each: two, but for these.
RUNS = {
    "never": 1, "without_end": 6, "by_itself_not_for_others": 1, "by_itself_but_for_one": 1, "by_itself_with_kwargs": 3,
    "by_itself_around_a_reject": 1,
}  # fmt: skip


def over(happened):
    wanted = sum(RUNS.get(one.name.split(".")[1], 2) for one in [*TASKS, options_of_its_base])
    return sum(one["what"] == "run" for one in happened) >= wanted
