"""Calls a task and waits for its result, again and again; then for very many at once. Celery's or pyqs's.

Prints a line of JSON: milliseconds from each task's end to the return of ``get()``; seconds for all of the many.
"""

import json
import sys
import time

from bench_app import app, stamp

pairs, many = map(int, sys.argv[1:3])
stamp.delay(0).get(timeout=30)  # clients and connections are made
waits = []
for _ in range(pairs):
    ended = stamp.delay(0.1).get(timeout=30)
    waits.append((time.monotonic() - ended) * 1000)
results = app.ResultSet([stamp.delay(0) for _ in range(many)])
began = time.monotonic()
results.get(timeout=300)
print(json.dumps({"waits_ms": waits, "many_s": time.monotonic() - began}), flush=True)
