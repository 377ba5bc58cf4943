"""Run as a program, by real Celery's Python: reads ``[[number, seconds, eta as ISO text], ...]`` and sends each call."""

import json
import sys
from datetime import datetime

from chaos_tasks import work

for number, seconds, eta in json.load(sys.stdin):
    work.apply_async((number, seconds), eta=datetime.fromisoformat(eta))
