"""The same tasks for dramatiq with dramatiq_sqs, its defaults. Runs in the peer's processes."""

import os
import time

import dramatiq
from dramatiq_sqs import SQSBroker

QUEUE = os.environ["BENCH_QUEUE"]

dramatiq.set_broker(SQSBroker(endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"], region_name="us-east-1"))


@dramatiq.actor(queue_name=QUEUE)
def noop(number):
    pass


@dramatiq.actor(queue_name=QUEUE)
def sleep(seconds):
    time.sleep(seconds)
