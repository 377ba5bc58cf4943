"""Native tasks for PyQS 1.0.1 and for us; as a program, ``interop_pyqs.py COUNT`` writes calls and prints their lines."""

import json
import os
import sys

from pyqs import task

QUEUE = "interop-native"


@task(queue=QUEUE, custom_function_path="interop_pyqs.record")
def record(*args, **kwargs):
    with open(os.environ["INTEROP_OUT"], "a", encoding="utf-8") as out:
        out.write(repr((tuple(args), sorted(kwargs.items()))) + "\n")


if __name__ == "__main__":
    lines = []
    for number in range(int(sys.argv[1])):
        args = (number, {"k": [1, 2.5, None, "h\u00e9llo \u2603"]}, "x" * (number % 7))
        kwargs = {"a": [number], "b": True} if number % 2 else {}
        delay = {"_delay_seconds": 1} if number % 10 == 0 else {}
        record.delay(*args, **dict(kwargs, **delay))
        lines.append(repr((args, sorted(kwargs.items()))))
    print(json.dumps({"lines": lines}))
