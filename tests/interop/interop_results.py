"""Results as an app of ours or of Celery's stores and reads them: ``python interop_results.py write URL``, or ``read URL``."""

import json
import os
import sys

if os.environ.get("INTEROP_PEER") != "celery":
    from pyqs_celery_compat import install_as_celery

    install_as_celery()

from celery import Celery
from celery.app.task import Context
from celery.result import AsyncResult, GroupResult

app = Celery("results", broker="memory://", backend=sys.argv[2])
app.conf.update(json.loads(os.environ.get("INTEROP_SETTINGS", "{}")))


def write():
    backend = app.backend
    request = Context(
        id="extended", task="t", args=(1,), kwargs={"k": "é"}, hostname="h", retries=3, delivery_info={"routing_key": "q"},
        parent_id="p", group="g",
    )  # fmt: skip
    backend.store_result("value", {"n": [1, None, "é", 2.5]}, "SUCCESS")
    backend.store_result("nothing", None, "SUCCESS")
    backend.store_result("failed", ValueError("no", 2), "FAILURE", traceback="a line")
    backend.store_result("own", {"done": 3}, "PROGRESS")
    backend.store_result("extended", [1], "SUCCESS", request=request)
    parent = AsyncResult("parent", app=app)
    GroupResult("g", [AsyncResult(name, app=app) for name in ("value", "nothing")], parent=parent, app=app).save()


def read():
    found = {}
    for name in ("value", "nothing", "failed", "own", "extended", "nobody"):
        result = app.AsyncResult(name)
        found[name] = [
            result.state, repr(result.result), result.traceback, result.name, result.args, result.kwargs, result.worker,
            result.retries, result.queue, result.ready() and result.date_done is not None,
        ]  # fmt: skip
    group = GroupResult.restore("g", app=app)
    found["group"] = [group.id, [one.id for one in group.results], group.parent.id]
    found["got"] = [app.AsyncResult("value").get(timeout=5), group.join(timeout=5)]
    group.delete()  # on SQL Celery cannot save one twice
    app.AsyncResult("value").forget()
    found["forgotten"] = app.AsyncResult("value").state
    print(json.dumps(found))


{"write": write, "read": read}[sys.argv[1]]()
