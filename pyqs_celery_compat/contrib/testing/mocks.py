"""Messages and context managers that are none, for tests.

Owns: what ``celery.contrib.testing.mocks`` has of those. Runs in tests only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

from pyqs_celery_compat.outgoing import as_task_v2
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


def TaskMessage(  # noqa: N802 - Celery's public name
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Any = None,
    errbacks: Any = None,
    chain: Any = None,
    shadow: str | None = None,
    utc: bool | None = None,
    **options: Any,
) -> Any:
    """A call of protocol 2 as a consumer would get it, with the headers that say what it is; further options are headers."""
    message = _message((args, dict(kwargs or {}), {"callbacks": callbacks, "errbacks": errbacks, "chain": chain}))
    message.headers = {"id": id or uuid(), "task": name, "shadow": shadow, **options}
    return message


def TaskMessage1(  # noqa: N802
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Any = None,
    errbacks: Any = None,
    chain: Any = None,
    **options: Any,
) -> Any:
    """The same of protocol 1, where all of that stands in the body."""
    body = {"task": name, "id": id or uuid(), "args": args, "kwargs": dict(kwargs or {})}
    message = _message({**body, "callbacks": callbacks, "errbacks": errbacks, **options})
    message.headers = {}
    return message


def _message(body: Any) -> Any:
    message = Mock(name="TaskMessage")
    message.payload = body
    message.content_type, message.content_encoding = "application/json", "utf-8"
    message.body = json.dumps(body)
    message.properties, message.delivery_info = {"correlation_id": None, "reply_to": None}, {}
    message.decode.return_value = body
    return message


def task_message_from_sig(app: Celery, sig: Any, utc: bool = True, TaskMessage: Any = TaskMessage) -> Any:  # noqa: N803
    """The message that a signature would be."""
    sig.freeze()
    options = dict(sig.options)
    links = {"callbacks": options.pop("link", None), "errbacks": options.pop("link_error", None)}
    written = as_task_v2(
        sig.id, sig.task, sig.args, sig.kwargs, now=app.now(), countdown=options.pop("countdown", None),
        eta=options.pop("eta", None), expires=options.pop("expires", None),
    )  # fmt: skip
    times = {key: written.headers[key] for key in ("eta", "expires")}
    return TaskMessage(sig.task, id=sig.id, args=sig.args, kwargs=sig.kwargs, **links, **times, utc=utc, **options)


class ContextMock(Mock):
    """A Mock that is a context manager, too: of itself."""

    def __enter__(self) -> ContextMock:
        return self

    def __exit__(self, *_: object) -> None:
        """Let an exception through."""
