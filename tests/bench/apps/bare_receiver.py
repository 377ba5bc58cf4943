"""One long poll after another by plain boto3: notes when each message came, then deletes it."""

import os
import time

import boto3

client = boto3.client("sqs", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"])
url = client.get_queue_url(QueueName=os.environ["BENCH_QUEUE"])["QueueUrl"]
notes = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
while True:
    for message in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", []):
        os.write(notes, f"{number} {time.monotonic():.6f} {os.getpid()}\n".encode())
        number += 1
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
