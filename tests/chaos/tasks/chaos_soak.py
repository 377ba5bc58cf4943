"""A task that fails the first time it runs: natively by raising, with Celery's face by a retry."""

import time

from chaos_tasks import FACE, first_time, note

if FACE.startswith("native"):
    from pyqs import task

    @task(queue="chaos", custom_function_path="chaos.stumble", retry_backoff=(1.0, 2.0))
    def stumble(number, seconds):
        """Takes so long, and raises the first time."""
        note(number, "start")
        time.sleep(seconds)
        if first_time(number):
            note(number, "fail")
            raise ValueError("on purpose")
        note(number, "end")

else:
    from chaos_tasks import app

    @app.task(name="chaos.stumble", bind=True)
    def stumble(self, number, seconds):
        """Takes so long, and asks to be run again the first time."""
        note(number, "start")
        time.sleep(seconds)
        if first_time(number):
            note(number, "fail")
            raise self.retry(countdown=1)
        note(number, "end")
