"""pyqs: a small, fast task queue for Amazon SQS.

Owns: the native API, ``task`` and ``events``. Importing it loads neither boto3 nor kombu.
"""

from pyqs import events
from pyqs.tasks import task

__all__ = ["__version__", "events", "task"]

__version__ = "2.0.0.dev0"
