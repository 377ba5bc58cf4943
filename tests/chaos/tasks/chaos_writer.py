"""Run as a program, by real Celery's Python: reads ``[[number, seconds, seconds ahead], ...]`` and sends each call with an eta
so far ahead of the moment at which it begins, which it prints (seconds since the epoch)."""

import json
import sys
import time
from datetime import datetime, timezone

from chaos_tasks import work

calls = json.load(sys.stdin)
with work.app.connection_for_write() as connection:  # whatever is loaded late is loaded before the first eta is told
    connection.ensure_connection(max_retries=3)
now = time.time()
print(now)
for number, seconds, ahead in calls:
    work.apply_async((number, seconds), eta=datetime.fromtimestamp(now + ahead, timezone.utc))
