"""A task that fails every time, and what makes its message go to the dead-letter queue with each face."""

import time

from chaos_tasks import FACE, note

if FACE.startswith("native"):
    from pyqs import task

    hopeless_task = task(queue="chaos.fifo", custom_function_path="chaos.hopeless", retry_backoff=(1.0, 2.0))
else:
    from chaos_tasks import app

    hopeless_task = app.task(name="chaos.hopeless", acks_on_failure_or_timeout=False)


@hopeless_task
def hopeless(number, seconds):
    """Takes so long, and fails."""
    note(number, "start")
    time.sleep(seconds)
    note(number, "fail")
    raise ValueError("on purpose")
