"""What a task sees of its own call: every attribute of the request, for every way to call it."""

import datetime

from stage import QUEUE, make_app, note

app = make_app()

ASKED = (
    "args", "kwargs", "retries", "is_eager", "ignore_result", "called_directly", "eta", "expires", "headers",
    "delivery_info", "reply_to", "correlation_id", "root_id", "parent_id", "group", "group_index", "shadow", "chord",
    "taskset", "callbacks", "errbacks", "timelimit", "origin", "hostname", "children", "argsrepr", "kwargsrepr", "lang",
    "task", "id", "utc", "redelivered", "chain", "stamps", "stamped_headers", "replaced_task_nesting", "priority",
    "properties", "no_such_attribute",
)  # fmt: skip


def seen(request):
    """What is the same in each run."""
    found = {}
    for name in ASKED:
        value = getattr(request, name, "-- AttributeError --")
        if name in ("id", "root_id", "parent_id", "correlation_id", "group", "reply_to") and value:
            value = "as task id" if value == request.id else "of its own"
        elif name in ("hostname", "origin"):
            value = type(value).__name__
        elif name in ("eta", "expires") and value:
            value = [type(value).__name__, "+" in str(value) or "Z" in str(value)]
        elif name in ("headers", "properties") and value:
            value = sorted(value)
        elif name == "delivery_info" and value:
            value = {key: value.get(key) for key in ("exchange", "routing_key", "priority", "redelivered")}
        elif name in ("callbacks", "errbacks") and value:
            value = [signature["task"] for signature in value]
        found[name] = repr(value)
    return found


@app.task(bind=True, name="requests.look")
def look(self, label, **more):
    note("seen", call=label, **seen(self.request))


@app.task(bind=True, name="requests.parent")
def parent(self, label):
    note("seen", call=label, **seen(self.request))
    look.delay(label + ": its child")


@app.task(bind=True, name="requests.again", max_retries=2)
def again(self, label):
    note("seen", call=f"{label} {self.request.retries}", **seen(self.request))
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@app.task(name="requests.after")
def after(*args, **kwargs):
    note("after")


def calls():
    soon = datetime.datetime.now(datetime.timezone.utc)
    look.delay("delay")
    look.delay("keywords", more={"a": [1, None, 2.5, "é"]})
    look.apply_async(["countdown"], countdown=0.1)
    look.apply_async(["eta"], eta=soon)
    look.apply_async(["expires"], expires=600)
    look.apply_async(["expires at"], expires=soon + datetime.timedelta(hours=1))
    look.apply_async(["headers"], headers={"x-mine": 1, "tenant": "a"})
    look.apply_async(["priority"], priority=3)
    look.apply_async(["link"], link=after.si(), link_error=after.si())
    look.apply_async(["shadow"], shadow="other name")
    look.apply_async(["task id"], task_id="11111111-2222-3333-4444-555555555555")
    look.apply_async(["limits"], time_limit=30, soft_time_limit=20)
    look.apply_async(["represented"], argsrepr="(a)", kwargsrepr="{k}")
    look.apply_async(["kept"], ignore_result=False)
    look.apply_async(["group"], group_id="g-1", group_index=3)
    look.apply_async(["family"], root_id="r-1", parent_id="p-1")
    look.apply_async(["queue"], queue=QUEUE)
    look.apply_async(["protocol words"], reply_to="someone", correlation_id="c-1")
    parent.delay("parent")
    again.delay("again")
    app.send_task("requests.look", ["by name"], {"more": 1})
    app.signature("requests.look", args=["signature"], immutable=True).apply_async()


def over(happened):
    return sum(one["what"] == "seen" for one in happened) == 25 and any(one["what"] == "after" for one in happened)
