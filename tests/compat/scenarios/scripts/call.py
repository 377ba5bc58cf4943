"""The client of a scenario: ``python call.py retries`` calls its tasks and ends when it is over. Ours has the alias."""

import importlib
import os
import sys
import time

if os.environ["SCENARIO_SIDE"] == "ours":
    from pyqs_celery_compat import install_as_celery

    install_as_celery()

import stage

stage.note("client")
scenario = importlib.import_module(sys.argv[1])
scenario.calls()
deadline = time.monotonic() + float(os.environ["SCENARIO_PATIENCE"])
while not scenario.over(stage.notes()):
    if time.monotonic() > deadline:
        sys.exit("it is not over: " + "\n".join(map(str, stage.notes()[-20:])))
    time.sleep(0.05)
