"""The application that is deployed: one task, which takes its time."""

import time

from pyqs_celery_compat import Celery
from pyqs_celery_compat.utils.log import get_task_logger

app = Celery("orders", broker="sqs://")
app.conf.update(task_default_queue="orders", task_acks_late=True, task_ignore_result=True)
log = get_task_logger(__name__)


@app.task
def ship(order: int, seconds: float = 1.0) -> None:
    log.info("order %s is packed", order)
    time.sleep(seconds)
    log.info("order %s is shipped", order)
