"""Answers, a line of JSON for each on its input, when a schedule is due: for our package, and for Celery (``INTEROP_PEER``)."""

import json
import os
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

if os.environ.get("INTEROP_PEER") == "celery":
    from celery.schedules import ParseException, crontab, crontab_parser, schedule
else:
    from pyqs_celery_compat.schedules import ParseException, crontab, crontab_parser, schedule


def moment(text, zone):
    """A moment that is written in UTC, in a zone; in none it stays what it is: naive, and of UTC."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(zone)) if zone else found


def parse(case):
    return sorted(crontab_parser(*case["range"]).parse(case["spec"]))


def ask(case):
    """What ``is_due`` and ``remaining_estimate`` say, in seconds."""
    conf = SimpleNamespace(enable_utc=True, beat_cron_starting_deadline=case.get("deadline"))
    now = moment(case["now"], case["now_in"])
    options = {"app": SimpleNamespace(timezone=ZoneInfo(case["zone"]), conf=conf), "nowfun": lambda: now}
    if "fields" in case:
        one = crontab(*case["fields"], **options)
    else:
        one = schedule(timedelta(seconds=case["every"]), relative=case["relative"], **options)
    last = moment(case["last"], case["last_in"])
    due, after = one.is_due(last)
    return [due, round(after, 3), round(one.remaining_estimate(last).total_seconds(), 3)]


for line in sys.stdin:
    case = json.loads(line)
    try:
        answer = parse(case) if "spec" in case else ask(case)
    except (ValueError, ParseException):
        answer = "refused"
    except TypeError:
        answer = "of a wrong type"
    print(json.dumps(answer), flush=True)
