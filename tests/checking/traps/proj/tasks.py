import asyncio
import multiprocessing
from functools import partial
from multiprocessing.pool import ThreadPool

from celery import (
    chain as then,  # expect: import same
    chord,  # expect: import same
    group,  # expect: import same
    shared_task as st,  # expect: import same
    signature,  # expect: import same
)
from celery.result import AsyncResult  # expect: import same
from proj import celery_app
from proj.classes import Logged

from . import celery_app as again
from .worker import application

lazy = partial(st, acks_late=True)


@st  # expect: task same
def plain():
    pass


@application.task(name="named-by-hand-elsewhere", bind=True, base=Logged, rate_limit="10/m")  # expect: task same, task difference
def bound(me, x):
    me.request.id  # expect: request same
    me.replace(plain.s())  # expect: call same
    raise me.retry(countdown=60)  # expect: eta difference


@again.task(name="proj.tasks.named-by-hand", serializer="pickle")  # expect: task same, pickle difference
def by_hand():
    pass


def called():
    pass


made = application.task(called)  # expect: task same
named = st(name="proj.tasks.by-call", rate_limit="1/s")(called)  # expect: task same, task difference
made.apply_async(countdown=5)  # expect: eta difference
application.send_task("proj.tasks.by-call")  # expect: call same
application.send_task("proj.tasks.called")  # expect: call same


@lazy(queue="reports")
def reported():
    pass


@st  # expect: task difference
async def awaited():
    await asyncio.sleep(1)


@celery_app.task(time_limit=3600)  # expect: task same
def long():
    pass


def run():
    plain.delay()  # expect: call same
    plain.apply_async(countdown=None)  # expect: call same
    plain.apply_async(countdown=0)  # expect: call same
    plain.apply_async((1,), countdown=3600)  # expect: eta difference
    plain.apply_async(eta=soon(), serializer="pickle")  # expect: eta difference, pickle difference
    by_hand.s(1).set(countdown=10).apply_async()  # expect: call same, eta difference
    by_hand.s(countdown=10)  # expect: call same
    application.send_task("proj.tasks.plain", countdown=10)  # expect: eta difference
    (plain.s() | by_hand.s()).delay()  # expect: call same
    then(plain.s(), by_hand.si()).apply_async(countdown=5)  # expect: eta difference, call same
    group(plain.s() for _ in range(3))()  # expect: canvas difference
    group([plain.s(), plain.s()])()  # expect: canvas same
    plain.map(x for x in "abc")  # expect: call same, canvas difference
    plain.chunks([(1,), (2,)], 1)  # expect: call same
    chord([plain.s()], plain.s()).delay()  # expect: canvas same
    signature("not.declared.here").delay()  # expect: call same, unknown-task look
    result = AsyncResult("id")  # expect: result same
    result.then(print)  # expect: result difference
    result.revoke()  # expect: result difference
    plain.delay().revoke(terminate=True)  # expect: call same, result difference
    with ThreadPool(2) as pool:
        pool.apply_async(print, (1,))
    multiprocessing.Pool().apply_async(print, (1,))
    executor_pool = ThreadPool(1)
    executor_pool.apply_async(print)


def shadows(plain):
    """``plain`` is somebody else's here."""
    plain.retry(countdown=1)
    plain.control.shutdown()
