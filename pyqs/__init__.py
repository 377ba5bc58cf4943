"""pyqs: a small, fast task queue for Amazon SQS.

Owns: the native API, ``task``, ``raw_task`` and ``events``. Importing it loads neither boto3 nor kombu.
"""

from pyqs import events
from pyqs.interruption import ShutdownRequested, SoftTimeLimitExceeded, interruptible, should_stop
from pyqs.raw import RawMessage, raw_task
from pyqs.tasks import task

__all__ = [
    "RawMessage",
    "ShutdownRequested",
    "SoftTimeLimitExceeded",
    "__version__",
    "events",
    "interruptible",
    "raw_task",
    "should_stop",
    "task",
]

__version__ = "2.0.0.dev0"
