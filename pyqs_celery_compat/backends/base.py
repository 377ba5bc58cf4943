"""What Celery has in ``celery.backends.base``.

Owns: the names, whose classes are in modules of their own.
"""

from __future__ import annotations

from pyqs_celery_compat._state import get_current_task
from pyqs_celery_compat.disabled_backend import DisabledBackend
from pyqs_celery_compat.key_value_backend import BaseKeyValueStoreBackend, KeyValueStoreBackend
from pyqs_celery_compat.result_backend import Backend, BaseBackend, BaseDictBackend

__all__ = (
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "KeyValueStoreBackend",
    "get_current_task",
)
