"""The least that a worker's tree could weigh: a parent with boto3's client, a forkserver that has loaded the app, children that
only wait. The processes are the standard library's; none ever runs a task.
"""

import multiprocessing
import os
import sys
import time


def wait():
    """What a child does."""
    time.sleep(3600)


if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench_app"])
    children = [context.Process(target=wait, daemon=True) for _ in range(int(sys.argv[1]))]
    for child in children:
        child.start()
    import boto3  # not in the children, which import this module, too

    sqs = boto3.client(
        "sqs", region_name="us-east-1", endpoint_url=f"http://{os.environ['BENCH_ADDRESS']}", aws_access_key_id="test",
        aws_secret_access_key="test",
    )  # fmt: skip
    while True:
        sqs.receive_message(QueueUrl=os.environ["BENCH_QUEUE_URL"], WaitTimeSeconds=20)
