"""Sends calls as fast as it can for some seconds, with the library that is here. argv: kind, seconds, items of a bulk.

Prints one JSON line: how many, in how many seconds, with how much CPU. What is made once (client, queue's URL, connection) is
made before the clock starts.
"""

import json
import os
import sys
import time

KIND, SECONDS, BULK = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
QUEUE = os.environ["BENCH_QUEUE"]
BODY = os.environ["BENCH_BODY"]


def boto3_client():
    import boto3

    client = boto3.client("sqs", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"])
    return client, client.get_queue_url(QueueName=QUEUE)["QueueUrl"]


def one_by_one():
    """A function that sends one call."""
    if KIND == "boto3":
        client, url = boto3_client()
        return lambda: client.send_message(QueueUrl=url, MessageBody=BODY)
    if KIND == "dramatiq":
        from dramatiq_app import noop

        return lambda: noop.send(1)
    if KIND in ("pyqs native", "PyQS 1.0.1"):
        from bench_tasks import noop
    else:
        from bench_app import noop
    return lambda: noop.delay(1)


def in_bulk():
    """A function that sends ``BULK`` calls."""
    if KIND == "boto3 bulk":
        client, url = boto3_client()
        entries = [{"Id": str(n), "MessageBody": BODY} for n in range(10)]

        def send():
            for _ in range(BULK // 10):
                client.send_message_batch(QueueUrl=url, Entries=entries)

        return send
    if KIND == "pyqs native bulk":
        from bench_tasks import noop

        return lambda: noop.send_many([(n,) for n in range(BULK)])
    from bench_app import app, noop

    if KIND == "pyqs bulk":

        def send_in_batch():
            with app.batch():
                for n in range(BULK):
                    noop.delay(n)

        return send_in_batch
    from celery import group

    return lambda: group(noop.s(n) for n in range(BULK)).apply_async()


send = in_bulk() if KIND.endswith("bulk") else one_by_one()
items = BULK if KIND.endswith("bulk") else 1
for _ in range(1 if items > 1 else 20):
    send()
began, cpu, sent = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < SECONDS:
    send()
    sent += items
seconds = time.perf_counter() - began
print(json.dumps({"sent": sent, "seconds": seconds, "cpu": time.process_time() - cpu}))
