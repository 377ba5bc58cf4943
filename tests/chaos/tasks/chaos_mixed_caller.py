"""Run as a program: reads ``[[kind, number, seconds, ahead], ...]`` and makes these calls, of which some take several numbers.

Prints the moment (seconds since the epoch) from which ``ahead`` counts.
"""

import json
import sys
import time
from datetime import datetime, timezone

from chaos_tasks import FACE, again, body, body_id, fail, part, work

if FACE.startswith("celery"):
    from celery import chain, chord, group
else:
    from pyqs_celery_compat import chain, chord, group

calls = json.load(sys.stdin)
now = time.time()
print(now)
for kind, n, seconds, ahead in calls:
    if kind == "work":
        work.delay(n, seconds)
    elif kind == "eta":
        work.apply_async((n, seconds), eta=datetime.fromtimestamp(now + ahead, timezone.utc))
    elif kind == "again":
        again.delay(n, seconds)
    elif kind == "link":
        work.apply_async((n, seconds), link=work.si(n + 1, seconds))
    elif kind == "errback":
        fail.apply_async((n, seconds, 9), link_error=work.si(n + 1, seconds))
    elif kind == "chain":
        chain(work.si(n, seconds), work.si(n + 1, seconds), work.si(n + 2, seconds)).apply_async()
    elif kind == "group":
        group(work.si(n, seconds), work.si(n + 1, seconds), work.si(n + 2, seconds)).apply_async()
    elif kind == "chord":
        header = [n + 1, n + 2, n + 3]
        chord(
            [part.s(one, seconds, 0) for one in header], body.s(number=n, header=header).set(task_id=body_id(n))
        ).apply_async()
    else:
        raise ValueError(kind)
