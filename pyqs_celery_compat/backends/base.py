"""What Celery has in ``celery.backends.base``.

Owns: the names, whose classes are in modules of their own.
"""

from __future__ import annotations

from pyqs_celery_compat._state import get_current_task
from pyqs_celery_compat.disabled_backend import DisabledBackend
from pyqs_celery_compat.key_value_backend import BaseKeyValueStoreBackend, KeyValueStoreBackend
from pyqs_celery_compat.result_backend import Backend, BaseBackend, BaseDictBackend, _nulldict
from pyqs_celery_compat.result_values import COMPRESSED_PAYLOAD_MAGIC, compress_payload, decompress_payload
from pyqs_celery_compat.result_waiting import SyncBackendMixin

__all__ = (
    "COMPRESSED_PAYLOAD_MAGIC",
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "KeyValueStoreBackend",
    "SyncBackendMixin",
    "_nulldict",
    "compress_payload",
    "decompress_payload",
    "get_current_task",
)
