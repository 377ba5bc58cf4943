"""What may interrupt a task from outside.

Owns: the exception of a native task's soft limit. Raised in an executor's main thread only, while a task runs.
"""

from __future__ import annotations


class SoftTimeLimitExceeded(Exception):
    """Raised in a native task that has run for its ``soft_time_limit``: clean up and end, before the hard limit kills."""
