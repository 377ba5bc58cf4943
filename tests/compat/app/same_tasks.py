"""Run as a program by test_like_celery.py, as same_script.py is: tasks in eager mode, canvases, results."""

# ruff: noqa
import json
import sys
import warnings

warnings.simplefilter("ignore")
PACKAGE = sys.argv[1]
if PACKAGE != "celery":
    from pyqs_celery_compat import install_as_celery

    install_as_celery()
import logging

logging.getLogger("celery").addHandler(logging.NullHandler())
from celery import Celery, Task, chain, chord, group, signature, signals, states
from celery.canvas import StampingVisitor, chunks, xmap
from celery.contrib.abortable import AbortableTask
from celery.exceptions import DuplicateTaskNameWarning, Ignore, MaxRetriesExceededError, Reject
from celery.result import EagerResult, GroupResult, ResultSet, result_from_tuple

CASES = []
WITHOUT = ("NoBackendError", "NotImplementedError", "AttributeError")


def case(fun):
    CASES.append(fun)
    return fun


def new(**kw):
    kw.setdefault("backend", "cache+memory://")
    return Celery("proj", broker="memory://" if PACKAGE == "celery" else "sqs://", **kw)


def attempt(fun, *args, **kw):
    try:
        return fun(*args, **kw)
    except BaseException as exc:
        # Ours is both.
        return "raises for want of a backend" if type(exc).__name__ in WITHOUT else "raises " + type(exc).__name__


def plain(value):
    """As JSON would have it, ids left out."""
    return json.loads(json.dumps(value, default=repr))


def same(x):
    return x


def plus(x, y):
    return x + y


def listed(*x):
    return list(x)


# -- eager mode -------------------------------------------------------------------------------------------------------
def eager_run(body, throw, **options):
    """What is stored, who is called, and the result."""
    app = new(task_store_eager_result=True)
    seen = []
    real = app.backend._store_result

    def store(task_id, result, state, traceback=None, request=None, **kw):
        seen.append(
            ["store", state, result if not isinstance(result, dict) else result.get("exc_type", result), bool(traceback)]
        )
        return real(task_id, result, state, traceback, request=request, **kw)

    app.backend._store_result = store

    class Base(app.Task):
        abstract = True

        def before_start(self, *args):
            seen.append("before_start")

        def on_success(self, *args):
            seen.append("on_success")

        def on_failure(self, *args):
            seen.append("on_failure")

        def on_retry(self, *args):
            seen.append("on_retry")

        def after_return(self, status, *args):
            seen.append("after_return " + status)

    task = app.task(shared=False, bind=True, base=Base, name="t", **options)(body)
    task_id = app.signature("t").freeze().id
    try:
        result = task.apply(task_id=task_id, throw=throw)
        seen.append([result.state, repr(result.result), bool(result.traceback), repr(result.get(propagate=False)), result.name])
    except BaseException as exc:
        seen.append("raised " + type(exc).__name__)
    return seen, app.AsyncResult(task_id).state


def ok(self):
    return 1


def fail(self):
    raise ValueError("x")


def ignore(self):
    raise Ignore()


def reject(self):
    raise Reject("r")


def requeue(self):
    raise Reject("r", requeue=True)


def once_more(self):
    if self.request.retries < 1:
        raise self.retry(countdown=5)
    return "done"


def with_exc(self):
    raise self.retry(exc=ValueError("v"))


def without_throw(self):
    if self.request.retries < 1:
        raise self.retry(throw=False, countdown=0)
    return self.request.retries


def progress(self):
    self.update_state(state="PROGRESS", meta={"a": 1})
    return 2


@case
def eager_states():
    return {
        f"{body.__name__} {throw} {sorted(options)}": eager_run(body, throw, **options)
        for body in (ok, fail, ignore, reject, requeue, once_more, with_exc, without_throw, progress)
        for throw in (False, True)
        for options in (
            {},
            {"max_retries": 1},
            {"ignore_result": True},
            {"ignore_result": True, "store_errors_even_if_ignored": True},
        )
        if not (options and throw)
    }


@case
def eager_request():
    app = new()

    @app.task(shared=False, bind=True, time_limit=9)
    def look(self):
        found = vars(self.request)
        return sorted(k for k in found if not k.startswith("_")), found["delivery_info"], found["timelimit"], found["is_eager"]

    return plain(
        look.apply(priority=3, exchange="e", routing_key="r", headers={"h": 1}).get()
    ), app.now().utcoffset() is not None


@case
def eager_result_attributes():
    good, bad = EagerResult("i", 3, "SUCCESS", name="n"), EagerResult("i", ValueError(3), "FAILURE", traceback="tb")
    names = (
        "id",
        "name",
        "args",
        "kwargs",
        "worker",
        "retries",
        "queue",
        "date_done",
        "parent",
        "children",
        "supports_native_join",
    )
    return (
        [getattr(good, name) for name in names],
        [good.ready(), good.successful(), good.failed(), bad.ready(), bad.successful(), bad.failed(), bad.traceback],
        [good.as_tuple(), good.as_list(), good.get_leaf(), good.maybe_throw(), list(good.collect())[0][1]],
        [attempt(bad.get), repr(bad.get(propagate=False)), attempt(bad.maybe_throw), attempt(bad.get_leaf)],
        [good.forget(), good.revoke(), good.state, attempt(good.get), repr(good.result)],
    )


@case
def always_eager_stores_only_if_told():
    out = []
    for setting in ({}, {"task_store_eager_result": True}, {"task_store_eager_result": True, "task_ignore_result": True}):
        app = new(task_always_eager=True, **setting)
        task = app.task(shared=False, name="t")(same)
        result = task.delay([1])
        out.append((type(result).__name__, result.get(), app.AsyncResult(result.id).state))
    return out


@case
def eager_children_and_family():
    app = new()

    @app.task(shared=False, bind=True)
    def child(self):
        return self.request.parent_id, self.request.root_id

    @app.task(shared=False, bind=True)
    def parent(self):
        found = child.apply().get()
        return self.request.id == found[0], self.request.root_id == found[1], self.request.children

    return parent.apply().get()


@case
def replaced_in_eager_mode():
    app = new()
    add = app.task(shared=False, name="add")(plus)

    @app.task(shared=False, bind=True, name="first")
    def first(self, sig):
        return self.replace(signature(sig, app=app))

    sigs = [add.s(1, 2), add.s(1, 2) | add.s(3), group(add.s(1, 1), add.s(2, 2)), add.s(1, 1) | group(add.s(1), add.s(2))]
    return [attempt(lambda sig=sig: first.apply((sig,)).get()) for sig in sigs] + [
        attempt(lambda: first.apply((chain(app=app),)).get()),
        attempt(lambda: first.apply((add.s(1, 2).set(chord=add.s()),)).get()),
        attempt(lambda: first.add_to_chord(add.s(1, 2))),
    ]


# -- declaring --------------------------------------------------------------------------------------------------------
@case
def one_name_for_two_functions():
    out = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app = new()

        @app.task(shared=False, name="n")
        def first():
            return 1

        @app.task(shared=False, name="n")
        def second():
            return 2

        out.append(app.tasks["n"]())
        out += [[w.category.__name__, "first" in str(w.message), "second" in str(w.message)] for w in caught]
    return out


@case
def routing_attributes_are_warned_of():
    out = []
    for attribute in (
        "queue",
        "exchange",
        "exchange_type",
        "routing_key",
        "delivery_mode",
        "priority",
        "serializer",
        "expires",
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            new().task(lazy=False, shared=False, **{attribute: "json"})(plus)
        out.append((attribute, [w.category.__name__ for w in caught]))
    return out


@case
def task_texts():
    import re

    app = new()

    @app.task(shared=False, name="a")
    def a():
        pass

    return (
        [re.sub("0x[0-9a-f]+", "", text) for text in (repr(a), str(a))],
        a.send_event("task-x", b=1),
        a.trail,
        a.backend is app.backend,
    )


@case
def pydantic_models():
    from typing import Optional

    try:
        from pydantic import BaseModel
    except ImportError:
        return "not installed"
    app = new()

    class M(BaseModel):
        x: int

    class N(M):
        y: int = 3

    def both(m: M, n: Optional[M] = None, k: int = 0) -> N:
        return N(x=m.x + (n.x if n else 0))

    def shown(m: M, *rest, **more):
        return [type(m).__name__, m.x, plain(rest), plain(more)]

    def other(m: M) -> int:
        return m

    f = app.task(shared=False, pydantic=True, name="f")(both)
    strict = app.task(shared=False, pydantic=True, pydantic_strict=True, name="s")(both)
    cut = app.task(shared=False, pydantic=True, pydantic_dump_kwargs={"exclude": {"x"}}, name="c")(both)
    g = app.task(shared=False, pydantic=True, name="g")(shown)
    h = app.task(shared=False, pydantic=True, name="h")(other)
    out = [
        f.apply(({"x": 1},)).result,
        f.apply((), {"m": {"x": "1"}, "n": {"x": 2}, "k": "3"}).result,
        f.apply((M(x=1),), {"n": N(x=5)}).result,
        type(f.apply(({"x": "q"},)).result).__name__,
        type(f.apply((1, 2, 3, 4)).result).__name__,
        type(strict.apply(({"x": "1"},)).result).__name__,
        strict.apply(({"x": 1},)).result,
        cut.apply(({"x": 1},)).result,
        g.apply(({"x": 1}, {"x": 2}), {"z": {"x": 3}}).result,
        type(h.apply(({"x": 1},)).result).__name__,
        f({"x": 1}),
    ]
    app.conf.task_always_eager = True
    out += [f.delay(M(x=4)).get(), f.delay({"x": 1}, n=M(x=2)).get(), attempt(lambda: f.delay(N(x=1)))]
    return out


# -- canvases ---------------------------------------------------------------------------------------------------------
def canvas_app(**kw):
    app = new(**kw)
    app.task(shared=False, name="a")(listed)
    return app, app.tasks["a"]


def shape(sig):
    """A canvas as nested lists."""
    kind = type(sig).__name__.lstrip("_")
    if kind == "chord":
        return [kind, [shape(t) for t in sig.tasks], sig.body and shape(sig.body)]
    if kind in ("chain", "group"):
        return [kind, *(shape(t) for t in sig.tasks)]
    return [kind, sig["task"], list(sig["args"])]


@case
def what_canvases_become():
    app, a = canvas_app()
    two = lambda: group(a.s(1), a.s(2))
    made = {
        "chain(a)": chain(a.s()), "chain([a])": chain([a.s()]), "chain()": chain(), "a|b": a.s(1) | a.s(2),
        "g|a": two() | a.s(3), "g1|a": group(a.s(1)) | a.s(2), "a|g": a.s() | two(), "a|g1": a.s() | group(a.s(1)),
        "a|g|a": a.s() | two() | a.s(3), "a|g|a|a": a.s() | two() | a.s(3) | a.s(4), "g|g": two() | two(),
        "g|chain": two() | (a.s(3) | a.s(4)), "chord|a": chord([a.s(1)], a.s(0)) | a.s(2), "chain(g,a)": chain(two(), a.s(3)),
        "chain([g,a])": chain([two(), a.s(3)]), "with an app": chain(two(), a.s(3), app=app), "chain(g1,a)": chain(group(a.s(1)), a.s(3)),
        "chain|chain": (a.s(1) | a.s(2)) | (a.s(3) | a.s(4)), "a|chain": a.s(1) | (a.s(3) | a.s(4)), "group(group)": group(two(), a.s(3)),
        "group([])": group([a.s(1), a.s(2)]), "group(gen)": group(a.s(i) for i in range(2)), "group()": group(), "chord()": chord([a.s(1)]),
        "chunks": a.chunks(range(4), 2).group(), "chord|g": chord([a.s(1)], a.s(0)) | two(),
    }  # fmt: skip
    read = {
        name: shape(signature(json.loads(json.dumps(sig)), app=app))
        for name, sig in made.items()
        if "gen" not in name and "chunks" not in name
    }
    return {name: shape(sig) for name, sig in made.items()}, read, attempt(lambda: a.s(1) | 3)


@case
def texts_of_canvases():
    app, a = canvas_app()
    return [
        repr(sig)
        for sig in (a.s(1, b=2), a.s(1) | a.s(2), group([a.s(1), a.s(2)]), group(), chord([a.s(1)], a.s(2)), chord([a.s(1)]),
                    chord([a.s(1)], a.s(2) | a.s(3)), a.map([1, 2]), a.starmap([(1,)]))
    ]  # fmt: skip


@case
def canvases_in_eager_mode():
    app, a = canvas_app(task_always_eager=True)
    out = [
        (a.s(1) | a.s(2) | a.s(3)).delay().get(),
        group(a.s(1), a.s(2)).delay(9).get(),
        (group(a.s(1), a.s(2)) | a.s(3)).delay().get(),
        chord([a.s(1), a.s(2)])(a.s(3)).get(),
        chord([a.s(1), a.s(2)], a.si(3)).apply_async().get(),
        a.map([1, 2]).delay().get(),
        a.starmap([(1, 2), (3, 4)]).delay().get(),
        a.chunks([(1,), (2,), (3,)], 2).delay().get(),
        (a.s(1) | group(a.s(2), a.s(3)) | a.s(4) | a.s(5)).delay().get(),
        chain(a.s(1), a.s(2)).apply().parent.get(),
        chain(a.s(1))().get(),
        chain()(),
        len(group()()),
        a.signature((1,), immutable=True).clone((2,)).delay().get(),
        (a.si(1) | a.si(2)).delay(7).get(),
        chord([], a.s(3)).delay().get(),
    ]
    return plain(out)


@case
def links_of_canvases():
    app, a = canvas_app()
    g, c, h = group(a.s(1), a.s(2)), a.s(1) | a.s(2), chord([a.s(1), a.s(2)], a.s())
    for sig in (g, c, h):
        sig.link(a.s(9))
        sig.link(a.s(9))
        sig.link_error(a.s(8))
    options = lambda sig: {k: plain(v) for k, v in sig.options.items()}
    return (
        [options(sig) for sig in (g, *g.tasks, c, *c.tasks, h, *h.tasks, h.body)],
        [attempt(lambda: g.apply_async(link=a.s())), attempt(lambda: g.apply_async(link_error=a.s()))],
        [plain(sig) for sig in (a.s(1).link(a.s(2)), a.s(1).on_error(a.s(2)).options)],
        len(a.s(1).set(link=[a.s(2).set(link=[a.s(3)])]).flatten_links()),
    )


@case
def merging():
    app, a = canvas_app()
    sig = a.s(1, k=1).set(queue="q", group_id="g")
    one = sig.clone((0,), {"k": 2}, queue="r", group_id="h", countdown=3, expires=None)
    two = a.si(1).clone((0,), {"k": 2}, queue="r")
    return (
        plain([one, two, sig, sig.replace((5,), {}, {})]),
        sig == a.s(1, k=1).set(queue="q", group_id="g"),
        isinstance(sig, dict),
    )


@case
def frozen():
    app, a = canvas_app()
    c, g, h = a.s(1) | a.s(2) | a.s(3), group(a.s(1), a.s(2), a.s(3)), chord([a.s(1), a.s(2)], a.s())
    rc, rg, rh = c.freeze(), g.freeze(), h.freeze()
    return (
        rc.parent.parent.parent is None, rc.id == c.tasks[-1].id == c.id, [len(rg), len(g.tasks)],
        [t.options["group_index"] for t in g.tasks],
        [type(rh.parent).__name__, len(rh.parent), rh.id == h.body.id],
        type(result_from_tuple(rh.as_tuple(), app).parent).__name__, len(json.dumps(rc.as_tuple())) > 100,
    )  # fmt: skip


@case
def stamps():
    app, a = canvas_app()

    class Visitor(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"task_name": sig.name}

    class Some(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"one": 1, "two": 2, "stamped_headers": ["one"]}

    out = []
    for visitor in (Visitor(), Some(), None):
        for sig in (a.s(1), a.s(1) | a.s(2), group(a.s(1), a.s(2)), a.s(1).set(link=[a.s(3)])):
            sig.stamp(visitor, **({} if visitor else {"team": "x"}))
            parts = [*(sig.tasks if hasattr(sig, "tasks") else [sig]), *(sig.options.get("link") or [])]
            out.append(
                [
                    {k: sorted(v) if k == "stamped_headers" else v for k, v in part["options"].items() if k != "link"}
                    for part in parts
                ]
            )
    again = a.s(1)
    again.stamp(team="x")
    again.stamp(team="y", append_stamps=True)
    return plain(out), sorted(again.options["team"]), again.options["stamped_headers"]


# -- results ----------------------------------------------------------------------------------------------------------
class Own(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


class Odd(Exception):
    def __init__(self, a, *, b):
        super().__init__(a)


@case
def results_in_memory():
    app, a = canvas_app()
    b, out = app.backend, []
    for number, exc in enumerate((ValueError("x", 1), Own(1, 2), KeyError("k"), TypeError(object))):
        b.mark_as_failure(f"mem-f{number}", exc, "tb")
        found = app.AsyncResult(f"mem-f{number}")
        out.append([found.state, type(found.result).__name__, len(found.result.args), found.traceback, attempt(found.get)])
    b.mark_as_done("mem-1", {"a": [1]})
    b.store_result("mem-1", 5, states.FAILURE)  # a success stays
    b.mark_as_retry("mem-2", ValueError("again"))
    b.mark_as_revoked("mem-3", "why")
    b.mark_as_started("mem-4", pid=1)
    for name in ("mem-1", "mem-2", "mem-3", "mem-4", "mem-5"):
        found = app.AsyncResult(name)
        out.append(
            [found.state, repr(found.result), found.ready(), found.successful(), found.failed(), found.date_done is not None]
        )
    one = app.AsyncResult("mem-1")
    out.append([one.get(timeout=1), attempt(app.AsyncResult("mem-5").get, timeout=0.01), attempt(app.AsyncResult("mem-3").get)])
    one.forget()
    out.append(app.AsyncResult("mem-1").state)
    return out


@case
def results_of_groups():
    app, a = canvas_app()
    ids = ["grp-1", "grp-2"]
    result = app.GroupResult("grp", [app.AsyncResult(i) for i in ids])
    before = [result.ready(), result.waiting(), result.completed_count(), attempt(result.get, timeout=0.01)]
    for i in ids:
        app.backend.mark_as_done(i, i)
    result.save()
    found = GroupResult.restore("grp", app=app)
    after = [
        found == result,
        found.get(),
        found.successful(),
        len(found),
        found[0].id,
        bool(app.GroupResult()),
        found.as_tuple(),
    ]
    found.delete()
    gathered = []
    some = app.ResultSet([])
    some.add(app.AsyncResult("grp-1"))
    some.add(app.AsyncResult("grp-1"))
    some.join(callback=lambda i, v: gathered.append((i, v)))
    return before, after, GroupResult.restore("grp", app=app), gathered, attempt(some.remove, "nope")


@case
def unknown_backends():
    return [
        attempt(lambda: new(backend=url).backend.as_uri())
        for url in ("cache+memory://", "disabled://", "cache+nosuch://x", "cache")
    ]


@case
def without_a_backend():
    app, a = canvas_app(backend=None)
    result = app.AsyncResult("x")
    return [
        attempt(lambda: result.state),
        attempt(result.get),
        attempt(lambda: chord([a.s(1)], a.s())()),
        a.update_state(state="X", task_id="t"),
    ]


@case
def abortable():
    app = new()

    @app.task(shared=False, base=AbortableTask, bind=True)
    def work(self):
        return self.is_aborted()

    result = work.AsyncResult("abo-1")
    first = result.is_aborted(), work.is_aborted(task_id="abo-1")
    result.abort()
    return first, result.state, work.is_aborted(task_id="abo-1"), work.apply(task_id="abo-1").get(), work.apply().get()


@case
def builtin_tasks():
    app = new()
    return sorted(n for n in app.tasks if n.startswith("celery.")), [
        app.tasks["celery.accumulate"](1, 2, index=1), app.tasks["celery.accumulate"](1, 2), attempt(app.tasks["celery.chain"]),
        app.tasks["celery.backend_cleanup"](),
    ]  # fmt: skip


print(json.dumps({fun.__name__: plain(fun()) for fun in CASES}, sort_keys=True))
