"""pyqs: a small, fast task queue for Amazon SQS.

Owns: the native API, ``task``, ``raw_task`` and ``events``. Importing it loads neither boto3 nor kombu.
"""

from pyqs import events
from pyqs.interruption import SoftTimeLimitExceeded
from pyqs.raw import RawMessage, raw_task
from pyqs.tasks import task

__all__ = ["RawMessage", "SoftTimeLimitExceeded", "__version__", "events", "raw_task", "task"]

__version__ = "2.0.0.dev0"
