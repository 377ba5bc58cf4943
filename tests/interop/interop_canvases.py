"""Canvases for a mixed fleet: ``python interop_canvases.py 4`` calls each so often and prints what they gave;
``python interop_canvases.py random-500`` builds so many by chance, and prints those that gave something else than they must."""

import json
import os
import random
import sys

OURS = os.environ.get("INTEROP_PEER") != "celery"
if OURS:
    from pyqs_celery_compat import install_as_celery

    install_as_celery()

from celery import Celery, chord, group  # noqa: E402 - ours needs the alias first
from celery.exceptions import TimeoutError  # noqa: E402

app = Celery("canvases", broker=f"sqs://k:s@localhost:{os.environ['INTEROP_PORT']}", backend=os.environ["INTEROP_BACKEND"])
app.conf.update(
    task_default_queue="canvases",
    broker_transport_options={"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1, "polling_interval": 0.05},
    result_chord_join_timeout=20,
    worker_prefetch_multiplier=1,
)


def ran():
    with open(os.environ["INTEROP_OUT"], "a", encoding="utf-8") as out:
        out.write(("ours" if OURS else "celery") + "\n")


@app.task(name="canvases.add")
def add(x, y):
    ran()
    return x + y


@app.task(name="canvases.total")
def total(values):
    ran()
    return sum(values)


@app.task(name="canvases.deep")
def deep(values):
    ran()
    return sum(deep.run(value) if isinstance(value, list) else value for value in values)


@app.task(name="canvases.fails")
def fails(*args):
    raise ValueError("no")


# Not at once: Celery's worker writes RETRY after it has sent the next run, and would sometimes write it over the SUCCESS of a
# run that was quick; a header with a group in it is then waited for until the time is over.
@app.task(bind=True, name="canvases.again", max_retries=1, default_retry_delay=0.5)
def again(self, x):
    if not self.request.retries:
        raise self.retry()
    return x


def canvases():
    return {
        "chain": add.s(1, 2) | add.s(3) | add.s(4),
        "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()),
        "chain with a group at its end, as a group": group(add.s(1, 2) | group(add.s(1), add.s(2))),
        "chain with a group at its end, in a header": chord([add.s(1, 1), add.s(1, 2) | group(add.s(1), add.s(2))], deep.s()),
        "chain with a group in its middle, in a header": chord(
            [add.s(1, 1), add.s(1, 2) | group(add.s(1), add.s(2)) | total.s()], total.s()
        ),
        "chord in a chain": add.s(1, 1) | chord([add.s(1), add.s(2)], total.s()) | add.s(5),
        "chord in a chord": chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s()),
        "chords in a row": chord([add.s(1, 1)], total.s()) | add.s(1) | group(add.s(1), add.s(2)) | total.s(),
        "failing body": chord([add.s(1, 1), add.s(2, 2)], fails.s()),
        "failing chain": add.s(1, 1) | fails.s() | add.s(1),
        "empty header": chord([], total.s()),
        "failing chain with a group in its middle, in a header": chord(
            [add.s(1, 1), fails.si() | group(add.s(1), add.s(2)) | total.s()], total.s()
        ),
        "failing header": chord([add.s(1, 1), fails.s()], total.s()),
        "group": group(add.s(1, 1), add.s(2, 2)),
        "group as a body": chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s())),
        "many": chord([add.s(number, number) for number in range(20)], total.s()),
        "retries in a chord": chord([again.s(1), again.s(2)], total.s()),
        "task, group, task": add.s(1, 1) | group(add.s(1), add.s(2)) | total.s(),
    }


# -- by chance: each part takes a number and gives one, and says which ------------------------------------------------------
def part(chance, depth):
    """A signature, and what it makes of a number."""
    kind = chance.choice(["add", "add", "again"] if depth == 0 else ["add", "chain", "fan", "chord", "tail"])
    if kind == "add":
        more = chance.randrange(10)
        return add.s(more), lambda value: value + more
    if kind == "again":
        return again.s(), lambda value: value
    parts = [part(chance, depth - 1) for _ in range(chance.randrange(1, 4))]
    if kind == "chain":
        made, last = parts[0][0], parts[0][1]
        functions = [last]
        for sig, function in parts[1:]:
            made |= sig
            functions.append(function)
        return made, lambda value: through(functions, value)
    signatures, functions = [sig for sig, _ in parts], [function for _, function in parts]
    if kind == "tail":
        # A header with a chain that ends in a group, whose tasks count for the chord. In that group are tasks only: with a
        # chord in it Celery 5.7 waits for ever.
        more = chance.randrange(10)
        made = chord([*signatures, add.s(more) | group(add.s(1), add.s(2))], deep.s())
        return made, lambda value: sum(function(value) for function in functions) + 2 * (value + more) + 3
    made = group(signatures) | total.s() if kind == "fan" and len(parts) > 1 else chord(signatures, total.s())
    return made, lambda value: sum(function(value) for function in functions)


def through(functions, value):
    for function in functions:
        value = function(value)
    return value


def by_chance(count):
    """Signature and what it must give. One in six fails at its end: not inside, where Celery 5.7 may wait for ever."""
    chance = random.Random(4711)
    for _ in range(count):
        start = chance.randrange(10)
        made, function = part(chance, 3)
        canvas, expected = add.si(start, 0) | made, function(start)
        if chance.random() < 1 / 6:
            canvas, expected = canvas | fails.s(), "ValueError"
        yield canvas, expected


def main_by_chance(count):
    started = [(repr(canvas), expected, canvas.apply_async()) for canvas, expected in by_chance(count)]
    found = [(text, expected, value(result), repr(result.result)) for text, expected, result in started]
    print(json.dumps({"lines": [json.dumps([one for one in found if one[1] != one[2]])]}))


def value(result):
    try:
        found = result.get(timeout=30, propagate=False)
    except TimeoutError as exc:
        return str(exc)
    return type(found).__name__ if isinstance(found, BaseException) else found


def main(rounds):
    started = [(name, canvas.apply_async()) for _ in range(rounds) for name, canvas in canvases().items()]
    found = {}
    for name, result in started:
        found.setdefault(name, []).append(value(result))
    print(json.dumps({"lines": [json.dumps(found)]}))


if __name__ == "__main__":
    if sys.argv[1].startswith("random-"):
        main_by_chance(int(sys.argv[1].partition("-")[2]))
    else:
        main(int(sys.argv[1]))
