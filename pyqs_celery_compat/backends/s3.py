"""``s3://``: each result is an object of its key's name, below ``s3_base_path``.

Owns: ``S3Backend``. Lives in the process that calls a task and in the one that runs it. Nothing goes by itself: expiry is a
lifecycle rule of the bucket.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.chord_parts import CLAIM
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_values import as_bytes

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class S3Backend(KeyValueStoreBackend):
    """Keeps results in a bucket: settings ``s3_bucket``, ``s3_base_path``, ``s3_region``, ``s3_endpoint_url`` and two for keys.

    Raises:
        ImproperlyConfigured: no bucket is named, or there are no credentials.
    """

    thread_safe = True

    def __init__(self, url: str | None = None, *, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, url=url, **kwargs)
        conf = app.conf
        self.bucket_name: str = conf.s3_bucket
        if not self.bucket_name:
            raise ImproperlyConfigured("the result backend s3:// needs s3_bucket, the name of a bucket")
        self.base_path: str = conf.s3_base_path or ""
        self._made: Any = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        """boto3's; thread-safe, and none is shared over a fork before its first request."""
        with self._lock:
            if self._made is None:
                import boto3

                conf = self.app.conf
                session = boto3.Session(
                    aws_access_key_id=conf.s3_access_key_id, aws_secret_access_key=conf.s3_secret_access_key,
                    region_name=conf.s3_region,
                )  # fmt: skip
                if session.get_credentials() is None:
                    raise ImproperlyConfigured(
                        "the result backend s3:// finds no AWS credentials (s3_access_key_id, or boto3's)"
                    )
                self._made = session.client("s3", endpoint_url=conf.s3_endpoint_url)
            return self._made

    def get(self, key: str) -> bytes | None:
        try:
            found: bytes = self.client.get_object(**self._where(key))["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return found

    def set(self, key: str, value: bytes | str) -> None:
        value = as_bytes(value)
        self.client.put_object(**self._where(key), Body=value)

    def delete(self, key: str) -> None:
        self.client.delete_object(**self._where(key))

    # -- chords: an object of a name of its own says who sends the body -------------------------------------------------
    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        from botocore.exceptions import ClientError, ParamValidationError

        where, client = self._where(self.get_key_for_chord(group_id)), self.client
        try:
            client.put_object(**where, Body=b"", IfNoneMatch="*")
            return True
        except ParamValidationError:  # a boto3 before 1.35 has no conditional writes: then nobody claims
            return True
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
        found = client.get_object(**where)
        if found["Body"].read():
            return None
        if found["LastModified"].timestamp() > time.time() - seconds:
            return False
        try:
            client.put_object(**where, Body=b"", IfMatch=found["ETag"])
        except ClientError:  # another one was faster
            return False
        return True

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        self.set(self.get_key_for_chord(group_id), b"sent")

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": f"{self.base_path}{key}"}


belongs_to("celery.backends.s3", S3Backend)
