"""Queues by name: what a name maps to, what ``-Q`` means, which queues exist.

Owns: nothing itself. ``names``, ``patterns`` and ``queue_options`` are pure, ``discovery`` asks an ``Sqs``,
``permissions`` says what that takes. Runs in the parent and in whoever publishes. Never creates a queue.
"""
