"""Typed reading of a JSON request: each field has the type the API reference gives it, or the request is refused.

Owns: ``Fields``. Pure. Never lets a value of another type reach the store.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pyqs.local.service_error import ServiceError, bad_parameter, missing_parameter

_MAX_LISTED = 1000


def bad_field(name: str, wanted: str) -> ServiceError:
    """SerializationException: the JSON is well-formed and the type is not the one of the API."""
    return ServiceError("SerializationException", f"{name} must be {wanted}.")


class Fields:
    """One JSON object of a request. A field that is null counts as absent."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload

    def text(self, name: str) -> str | None:
        """A string, or None."""
        value = self._payload.get(name)
        if value is not None and not isinstance(value, str):
            raise bad_field(name, "a string")
        return value

    def required(self, name: str) -> str:
        """A string that must be there and not be empty. Raises MissingParameter."""
        value = self.text(name)
        if not value:
            raise missing_parameter(name)
        return value

    def integer(self, name: str) -> int | None:
        """A whole number, or None."""
        value = self._payload.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise bad_field(name, "an integer")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty when absent."""
        value = self._payload.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise bad_field(name, "a list of strings")
        return value

    def texts_by_name(self, name: str) -> dict[str, str]:
        """A map of strings; empty when absent."""
        value = self._payload.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise bad_field(name, "a map of strings")
        return value

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; empty when absent."""
        value = self._payload.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise bad_field(name, "a list of objects")
        return [Fields(item) for item in value]

    def objects_by_name(self, name: str) -> dict[str, Fields]:
        """A map of objects; empty when absent."""
        value = self._payload.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
            raise bad_field(name, "a map of objects")
        return {key: Fields(item) for key, item in value.items()}

    # -- what several actions share -----------------------------------------------------------------------------------

    def queue(self) -> str:
        """The name in QueueUrl: its last part, whatever host stands before it."""
        return self.required("QueueUrl").rstrip("/").rpartition("/")[2]

    def queue_name_if_any(self) -> str:
        """The queue this request is about, or "" (for faults)."""
        value = self._payload.get("QueueUrl") or self._payload.get("QueueName") or self._payload.get("SourceArn")
        return value.rstrip("/").replace(":", "/").rpartition("/")[2] if isinstance(value, str) else ""

    def limit(self, name: str) -> int | None:
        """MaxResults, 1 to 1000."""
        value = self.integer(name)
        if value is not None and not 1 <= value <= _MAX_LISTED:
            raise bad_parameter(value, name, f"Must be between 1 and {_MAX_LISTED}, if provided.")
        return value

    def page(self) -> str:
        """The name after which the page starts, from NextToken."""
        token = self.text("NextToken")
        if not token:
            return ""
        try:
            return base64.b64decode(token, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise bad_parameter(token[:100], "NextToken", "Invalid or expired next token.") from None
