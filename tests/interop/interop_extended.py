"""AWS's own Extended Client Library for Python: ``send QUEUE BUCKET BODY [legacy]`` or ``receive QUEUE BUCKET``."""

import json
import sys

import boto3
import sqs_extended_client  # noqa: F401 - it adds itself to boto3's clients


def main() -> None:
    what, queue, bucket, *rest = sys.argv[1:]
    sqs = boto3.client("sqs")
    sqs.large_payload_support = bucket
    sqs.s3_client = boto3.client("s3")
    sqs.use_legacy_attribute = rest[1:] == ["legacy"]
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    if what == "send":
        with open(rest[0]) as body:
            sqs.send_message(QueueUrl=url, MessageBody=body.read(), MessageAttributes={})
        return
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    print(json.dumps(message["Body"]))


main()
