"""A name that configurations set: Celery's pool has seconds for a child to start in, executors have their own limit.

Owns: ``PROC_ALIVE_TIMEOUT``, which can be set and is not read (an executor may take as long as the app's import takes).
"""

from __future__ import annotations

#: Seconds. Of no effect.
PROC_ALIVE_TIMEOUT = 4.0
