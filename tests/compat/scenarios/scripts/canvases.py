"""Canvases of every kind, run to their end: what each gives, and what is called on the way."""

import os

from celery import chain, chord, group
from celery.result import GroupResult
from stage import make_app, note

app = make_app(task_ignore_result=False, result_backend=os.environ["SCENARIO_BACKEND"], result_chord_join_timeout=10)
STARTED = {}
#: Errbacks of these are called.
ERRBACKS = {"failing body": 1, "failing header": 1, "failing link": 1, "failing chain": 1}


@app.task(name="canvases.add")
def add(x, y):
    return x + y


@app.task(name="canvases.total")
def total(values):
    return sum(flat(values))


@app.task(name="canvases.several")
def several(n):
    return list(range(n))


@app.task(name="canvases.fails")
def fails(*args):
    raise ValueError("no")


@app.task(bind=True, name="canvases.again", max_retries=1, default_retry_delay=0)
def again(self, x):
    if not self.request.retries:
        raise self.retry()
    return x


@app.task(bind=True, name="canvases.replaced")
def replaced(self, x):
    raise self.replace(group(add.s(x, 1), add.s(x, 2)) | total.s())


@app.task(name="canvases.failed")
def failed(request, exc, traceback, label):
    note("errback", call=label, exc=type(exc).__name__)


def flat(values):
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from flat(value)
        else:
            yield value


def errback(label):
    return failed.s(label=label)


def canvases():
    yield "chain", add.s(1, 2) | add.s(3) | add.s(4)
    yield "chain of one", chain(add.s(1, 2))
    yield "immutable", add.s(1, 2) | add.si(5, 5)
    yield "group", group(add.s(1, 1), add.s(2, 2))
    yield "empty group", group([])
    yield "chord", chord([add.s(1, 1), add.s(2, 2)], total.s())
    yield "chord of one", chord([add.s(1, 1)], total.s())
    yield "empty chord", chord([], total.s())
    yield "group then task", group(add.s(1, 1), add.s(2, 2)) | total.s()
    yield "task then group", add.s(1, 1) | group(add.s(1), add.s(2))
    yield "task, group, task", add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()
    yield "task, group, task, task", add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(10)
    yield "group, group", group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s())
    yield "group, group, task", group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s()) | total.s()
    yield "chains in a chord", chord([add.s(1, 1) | add.s(1), add.s(2, 2) | add.s(2)], total.s())
    yield "chord in a chord", chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s())
    yield "group in a chord", chord([group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)], total.s())
    yield "chord in a group", group(chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3))
    yield "chord in a chain", add.s(1, 1) | chord([add.s(1), add.s(2)], total.s()) | add.s(5)
    yield "chain as a body", chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(1))
    yield "group as a body", chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s()))
    yield "retries in a chord", chord([again.s(1), again.s(2)], total.s())
    yield "many", chord([add.s(number, number) for number in range(30)], total.s())
    yield "chunks", add.chunks([(number, number) for number in range(6)], 2)
    yield "map", several.map([1, 2])
    yield "starmap", add.starmap([(1, 1), (2, 2)])
    yield "replaced", replaced.s(1)
    yield "replaced in a chain", add.s(1, 1) | replaced.s() | add.s(100)
    yield "replaced in a chord", chord([replaced.s(1), add.s(1, 1)], total.s())
    yield "failing chain", (add.s(1, 1) | fails.s() | add.s(1)).on_error(errback("failing chain"))
    yield "failing group", group(add.s(1, 1), fails.s())
    yield "failing header", chord([add.s(1, 1), fails.s()], total.s().on_error(errback("failing header")))
    yield "failing body", chord([add.s(1, 1), add.s(2, 2)], fails.s().on_error(errback("failing body")))
    yield "failing header in a chain", add.s(1, 1) | chord([add.s(1), fails.s()], total.s()) | add.s(5)
    yield "failing chain in a chord", chord([fails.s() | add.s(1), add.s(1, 1)], total.s())
    yield "failing link", add.s(1, 1).on_error(errback("not this")) | fails.s().on_error(errback("failing link"))


def calls():
    for label, canvas in canvases():
        STARTED[label] = canvas.apply_async()


def over(happened):
    called = sum(one["what"] == "errback" for one in happened)
    if called < sum(ERRBACKS.values()) or not all(result.ready() for result in STARTED.values()):
        return False
    for label, result in STARTED.items():
        value = result.get(timeout=10, propagate=False)
        state = None if isinstance(result, GroupResult) else result.state
        note("ended", call=label, value=said(value), state=state, kind=type(result).__name__)
    return True


def said(value):
    if isinstance(value, BaseException):
        text = str(value)
        return [
            type(value).__name__,
            "Dependency … " + text.partition(" raised ")[2] if text.startswith("Dependency") else text,
        ]
    if isinstance(value, (list, tuple)) and any(isinstance(one, BaseException) for one in value):
        return [said(one) for one in value]
    return repr(value)
