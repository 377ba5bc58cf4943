"""Calls of ``interop_both``'s tasks, written by Celery, or by this package under its name (``INTEROP_ALIAS``)."""

import json
import os

if os.environ.get("INTEROP_ALIAS"):
    from pyqs_celery_compat import install_as_celery

    install_as_celery()
import celery
import interop_both

assert celery.__name__ == ("pyqs_celery_compat" if os.environ.get("INTEROP_ALIAS") else "celery")
interop_both.add.delay(1, 2)
interop_both.again.delay()
interop_both.slow.delay()
print(json.dumps({"lines": ["interop_both.add 3", "retry", "gave up", "soft limit"]}))
