"""Names in every way in which one can come by them."""
from importlib import import_module
from unittest.mock import patch

import celery  # expect: import same
import celery.events.state as state  # expect: import not-supported
import celery.signals  # expect: import same
from billiard import Process  # expect: import difference
from billiard.exceptions import SoftTimeLimitExceeded  # expect: import same
from celery import *
from celery import bootsteps, task  # expect: import difference, import not-supported
from celery.apps.worker import Worker  # expect: import difference
from celery.concurrency.base import BasePool  # expect: import not-supported
from celery.contrib.testing.worker import start_worker  # expect: import difference
from celery.five import string_t  # expect: import not-supported
from celery.no_such import thing  # expect: import not-supported
from celery.platforms import detached, pyimplementation  # expect: import not-supported, import difference
from celery.task import periodic_task  # expect: import not-supported
from celery.utils import no_such_function  # expect: import not-supported
from celery.utils.encoding import safe_str  # expect: import not-supported
from celery.utils.log import get_task_logger  # expect: import same
from celery_batches import Batches  # expect: library not-supported
from django_celery_results.models import TaskResult  # expect: library same
from flower.app import Flower  # expect: library not-supported
from kombu import Exchange, Queue  # expect: import same
from kombu.serialization import register  # expect: import same
from kombu.transport.SQS import Channel  # expect: import not-supported

try:
    from celery.utils.sysinfo import load_average  # expect: import not-supported
except ImportError:
    load_average = None

register("fernet", str, str, content_type="application/x-fernet")  # expect: serializer same


class Step(bootsteps.StartStopStep):  # expect: subclass difference
    requires = {"celery.worker.components:Timer"}


class Eats(celery.bootsteps.ConsumerStep):  # expect: subclass not-supported
    pass


def dynamic():
    import_module("celery.apps.beat")  # expect: name same
    with patch("celery.app.task.Task.apply_async"):  # expect: name same
        pass
    import logging

    logging.getLogger("celery.worker.consumer")
    return celery.beat.Scheduler(app=None)


@celery.signals.worker_ready.connect  # expect: signal difference
def ready(**kwargs):
    shared_task  # from the star


@celery.signals.beat_init.connect(weak=False)  # expect: signal same
def beats(**kwargs):
    pass


celery.signals.task_prerun.connect(ready)  # expect: signal same
celery.signals.worker_before_create_process.connect(ready)  # expect: signal not-supported


@shared_task  # expect: task same
def starred():
    pass


@task  # expect: task not-supported
def old():
    pass


from celery.apps.multi import Cluster  # pyqs: ok, nobody runs this


from django.dispatch import receiver
from import_export_celery.models import Job  # expect: library look


@receiver([celery.signals.task_failure, celery.signals.task_prerun])  # expect: signal difference, signal same
def told(**kwargs):
    pass
