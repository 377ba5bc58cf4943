"""Queues by name: what a name maps to, what ``-Q`` means, which queues exist.

Owns: the public names of its modules: ``names``, ``patterns`` and ``queue_options`` are pure, ``discovery`` asks an ``Sqs``.
Runs in the parent and in whoever publishes. Never creates a queue.
"""

from pyqs.queues.discovery import DeadLetters, Found, discover
from pyqs.queues.names import (
    FIFO,
    MAX_NAME,
    QueueAddress,
    canonical_name,
    check_name,
    default_queue_name,
    is_arn,
    is_url,
    name_from_url,
    name_problem,
    parse_arn,
    parse_url,
)
from pyqs.queues.patterns import Pattern, compile_patterns
from pyqs.queues.queue_options import PLAIN, QueueOptions

__all__ = [
    "FIFO",
    "MAX_NAME",
    "PLAIN",
    "DeadLetters",
    "Found",
    "Pattern",
    "QueueAddress",
    "QueueOptions",
    "canonical_name",
    "check_name",
    "compile_patterns",
    "default_queue_name",
    "discover",
    "is_arn",
    "is_url",
    "name_from_url",
    "name_problem",
    "parse_arn",
    "parse_url",
]
