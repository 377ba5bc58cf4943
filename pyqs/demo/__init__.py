"""``pyqs demo``: a tour that needs no AWS account and proves what it shows.

``data/messages.jsonl`` holds messages that real clients (Celery 5.7, 4.4 and 3.1, PyQS 1.0.1) sent through an SQS emulator,
byte for byte, one of them forged by hand; ``project/`` holds the demo's application, which is copied to a temporary folder
and is the working directory of the worker.
"""
