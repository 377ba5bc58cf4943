"""Sends ``bench.note`` when told to: a line "QUEUE NUMBER" on stdin; answers when it began and had sent. Celery's or pyqs's."""

import sys
import time

from bench_app import note

for line in sys.stdin:
    queue, number = line.split()
    began = time.monotonic()
    note.apply_async((int(number),), queue=queue)
    print(f"{began:.6f} {time.monotonic():.6f}", flush=True)
