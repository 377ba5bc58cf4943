"""Run as a program: ``interop_writer.py COUNT`` writes COUNT mixed calls and prints, as JSON, the lines that they must leave.

``INTEROP_PEER=celery`` writes with Celery (4.4 or 5.7), else with our package. ``INTEROP_READER=celery44`` leaves out what the
apps of its readers cannot say: bodies that are not base64.
"""

import datetime
import decimal
import json
import os
import sys

import interop_tasks as tasks

try:
    from celery import __version__ as version
except ImportError:
    version = "ours"

MODERN = not version.startswith("4.") and os.environ.get("INTEROP_READER") != "celery44"
DATE = datetime.datetime(2031, 5, 17, 10, 11, 12, 130000)
PLAIN = ({"k": [1, 2.5, None, True, "h\u00e9llo \u2603"], "n": {"m": []}}, -7, "", 2**53 + 1)


def line(args, kwargs):
    return repr((tuple(args), sorted(kwargs.items())))


def others():
    """Apps with another protocol or transport."""
    yield tasks.make("one", task_protocol=1)
    yield tasks.make("bare", transport={"sqs_base64_encoding": False}) if MODERN else tasks.make("one-b", task_protocol=1)


ONE, BARE = others()


def call(number):
    """Make call ``number``; answer the lines it must leave."""
    kind = number % 20
    args, kwargs, options = (number, *PLAIN), {"a": [number], "b": "x"}, {}
    send = tasks.record.apply_async
    if kind == 1:
        options = {"serializer": "yaml"}
    elif kind == 2:
        args, options = (number, b"\x00\xff", "text"), {"serializer": "msgpack"}
    elif kind == 3:
        args, options = (number, (1, (2,)), {3}, DATE, decimal.Decimal("1.50"), b"\x80"), {"serializer": "pickle"}
    elif kind == 4:
        options = {"compression": "zlib"}
    elif kind == 5:
        options = {"compression": "bzip2"}
    elif kind == 6:
        options = {"countdown": 1}
    elif kind == 7:
        args = (number, "x" * 50000)
    elif kind in (8, 9):
        app = ONE if kind == 8 else BARE
        app.send_task("interop.record", args, kwargs)
        return [line(args, kwargs)]
    elif kind == 10:
        options = {"expires": 3600, "priority": 5, "time_limit": 50, "soft_time_limit": 40, "shadow": "shown"}
    elif kind == 11:
        tasks.asked.apply_async((number,), task_id=f"my-id-{number}", headers={"x_trace": f"t{number}"})
        trace = None if os.environ.get("INTEROP_READER") == "celery44" else f"t{number}"  # its tasks are not shown headers
        return [line((number, f"my-id-{number}", trace, 0), {})]
    elif kind == 12:
        send = tasks.late.apply_async
    elif kind == 13:
        tasks.retried.apply_async((number,))
        return [line((number, 2), {})]
    elif kind == 14:
        tasks.record.apply_async((number,), link=tasks.record.s("linked", number))
        return [line((number,), {}), line(("done", "linked", number), {})]
    elif kind == 15:
        tasks.record.apply_async((number,), link=[tasks.record.si("immutable", number)], serializer="pickle")
        return [line((number,), {}), line(("immutable", number), {})]
    elif kind == 16:
        tasks.app.send_task("interop.record", kwargs=kwargs)
        return [line((), kwargs)]
    elif kind == 17:
        options = {"eta": datetime.datetime(2020, 1, 1)}
    elif kind == 18 and version != "ours":
        from celery import chain

        chain(tasks.record.s(number), tasks.record.s("second", number), tasks.record.si("third", number)).apply_async()
        return [line((number,), {}), line(("done", "second", number), {}), line(("third", number), {})]
    elif kind == 19:
        send = lambda args, kwargs, **options: tasks.record.delay(*args, **kwargs)  # noqa: E731
    send(args, kwargs, **options)
    return [line(args, kwargs)]


expected = [text for number in range(int(sys.argv[1])) for text in call(number)]
print(json.dumps({"version": version, "lines": expected}))
