"""Receive and delete by plain boto3, nothing else: what one process can do with the SDK. argv: number of threads."""

import os
import sys
import threading

import boto3
from botocore.config import Config

THREADS = int(sys.argv[1])
client = boto3.client(
    "sqs",
    region_name="us-east-1",
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    config=Config(max_pool_connections=THREADS),
)
url = client.get_queue_url(QueueName=os.environ["BENCH_QUEUE"])["QueueUrl"]


def drain() -> None:
    while True:
        found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
        if found:
            entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(found)]
            client.delete_message_batch(QueueUrl=url, Entries=entries)


for _ in range(THREADS - 1):
    threading.Thread(target=drain, daemon=True).start()
drain()
