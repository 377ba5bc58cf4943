"""What a backend cannot read, or may not, is told by kombu's errors (observed on Celery 5.7): others' backends catch them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kombu.exceptions import ContentDisallowed, DecodeError

from pyqs_celery_compat import Celery
from pyqs_celery_compat.backends.base import BaseBackend


def test_what_is_not_in_the_serializers_form_is_a_decode_error() -> None:
    backend = BaseBackend(Celery("reading", set_as_current=False))
    assert backend.decode(backend.encode({"a": 1})) == {"a": 1}
    with pytest.raises(DecodeError, match="json"):
        backend.decode("['a', 1]")
    with pytest.raises(DecodeError):
        backend.decode_result(b"\x00celery-compressed\x00application/x-gzip\x00no gzip")


def test_what_is_not_accepted_is_not_read() -> None:
    app = Celery("reading", set_as_current=False)
    app.conf.update(result_serializer="yaml", result_accept_content=["json"])
    with pytest.raises(ContentDisallowed, match="yaml"):
        BaseBackend(app).decode("{a: 1}")


def test_children_are_told_of_requests_that_have_none() -> None:
    """A request of another's making, as django-celery-results' tests have it."""
    assert BaseBackend(Celery("reading", set_as_current=False)).current_task_children(SimpleNamespace(id="x")) == []
