"""What a result backend keeps of every way in which a call may end, and what is read back."""

import datetime
import json
import os
import signal
import time

from celery import states
from celery.exceptions import Ignore, Reject
from stage import make_app, note

app = make_app(task_ignore_result=False, result_backend=os.environ["SCENARIO_BACKEND"], result_extended=True)
#: Calls whose state is none of Celery's ends.
OPEN = {"ignored": None, "own state": "PROGRESS", "ignores": None, "told to ignore": None}
NAMES = []
#: Exceptions whose texts each side writes for itself.
WORDS_OF_ITS_OWN = ("WorkerLostError", "EncodeError")


class Odd(Exception):
    """It cannot be made from its own args."""

    def __init__(self, a, b):
        super().__init__("odd")


def call(task, label, *args, **options):
    NAMES.append(label)
    task.apply_async(args, task_id=label, **options)


@app.task(name="results.work")
def work(value=None):
    return value


@app.task(name="results.fails")
def fails():
    raise ValueError("no", 1)


@app.task(name="results.odd")
def odd():
    raise Odd(1, 2)


@app.task(name="results.returns_an_object")
def returns_an_object():
    return object()


@app.task(name="results.raises_an_object")
def raises_an_object():
    raise KeyError(object())


@app.task(bind=True, name="results.again", max_retries=2, default_retry_delay=0)
def again(self, times):
    if self.request.retries < times:
        raise self.retry(exc=ValueError("again"))
    return self.request.retries


@app.task(bind=True, name="results.stops")
def stops(self, how):
    if how == "own state":
        self.update_state(state="PROGRESS", meta={"done": 3})
        raise Ignore
    raise Ignore if how == "ignored" else Reject("no")


@app.task(name="results.ignores", ignore_result=True)
def ignores():
    return 1


@app.task(name="results.ignores_but_fails", ignore_result=True, store_errors_even_if_ignored=True)
def ignores_but_fails():
    raise ValueError("kept")


@app.task(bind=True, name="results.tracked", track_started=True)
def tracked(self):
    found = app.backend.get_task_meta(self.request.id)
    note("started", call="tracked", state=found["status"], keys=sorted(found["result"]))


@app.task(name="results.has_children")
def has_children():
    call(work, "child", "c")


@app.task(name="results.lost", time_limit=20)
def lost(how):
    if how == "limit":
        time.sleep(60)
    os.kill(os.getpid(), signal.SIGKILL)


def calls():
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    call(work, "value", {"a": [1, None, "é"]})
    call(work, "nothing")
    call(work, "keywords", kwargs={"value": 2})
    call(fails, "fails")
    call(odd, "odd")
    call(returns_an_object, "an object")
    call(raises_an_object, "raises an object")
    call(again, "retried", 1)
    call(again, "retried to its end", 9)
    for how in ("ignored", "rejected", "own state"):
        call(stops, how, how)
    call(ignores, "ignores")
    call(ignores, "told to keep", ignore_result=False)
    call(work, "told to ignore", ignore_result=True)
    call(ignores_but_fails, "keeps errors")
    call(tracked, "tracked")
    call(work, "expired", expires=past)
    call(has_children, "has children")
    call(work, "linked", 1, link=work.s().set(task_id="its link"))
    call(lost, "limit", "limit", time_limit=1)
    call(lost, "killed", "killed")
    (work.s(1).set(task_id="first") | fails.si().set(task_id="second") | work.s().set(task_id="third")).apply_async()


def over(happened):
    names = [*NAMES, "child", "its link", "first", "second", "third"]
    kept = {name: app.backend.client.get(f"celery-task-meta-{name}") for name in names}
    found = {name: json.loads(payload) if payload else None for name, payload in kept.items()}
    for name, meta in found.items():
        state = meta and meta["status"]
        if state != OPEN[name] if name in OPEN else state not in states.READY_STATES:
            return False
    for name, meta in found.items():
        note("kept", call=name, meta=meta and {key: same_in_each_run(key, value) for key, value in meta.items()})
        if name not in OPEN:
            result = app.AsyncResult(name)
            value = result.get(timeout=5, propagate=False)
            kind = type(value).__name__
            said = repr(value) if kind not in WORDS_OF_ITS_OWN else kind
            note("read", call=name, value=said, kind=kind, state=result.state, name=result.name)
    return True


def same_in_each_run(key, value):
    if key == "traceback" and value:
        last = value.strip().splitlines()[-1]
        return last if last.startswith(("ValueError", "KeyError")) else "there is one"
    if key in ("worker", "date_done"):
        return type(value).__name__
    if key == "result" and isinstance(value, dict) and value.get("exc_type") in WORDS_OF_ITS_OWN:
        return {**value, "exc_message": "what became of it"}
    return value
