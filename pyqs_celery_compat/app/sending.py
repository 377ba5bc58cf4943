"""How an app publishes.

Owns: ``Sending``, a part of ``Celery``: ``send_task``, ``batch`` and the way to the queues. Runs in the caller's thread, in any
process. Never runs a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pyqs_celery_compat import publishing
from pyqs_celery_compat.app.amqp import AMQP
from pyqs_celery_compat.publisher import Publisher, batching
from pyqs_celery_compat.settings import Settings
from pyqs_celery_compat.utils import imports

if TYPE_CHECKING:
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.eager_result import EagerResult
    from pyqs_celery_compat.result import AsyncResult


class Sending:
    """The sending side of an app."""

    #: The class of ``amqp``, or where it is.
    amqp_cls: Any = AMQP
    conf: Settings
    publisher: Publisher

    @cached_property
    def amqp(self) -> AMQP:
        """The sending side."""
        return imports.symbol_by_name(self.amqp_cls)(self)  # type: ignore[no-any-return]

    @cached_property
    def native_refused_on(self) -> frozenset[str]:
        """SQS names of the queues that the app declares, where Celery workers may listen, which delete what they do not
        know: native tasks are refused there unless ``allow_native`` is set."""
        if self.conf.get("allow_native") or not self.conf.broker_url:
            return frozenset()
        return frozenset(self.publisher.transport.sqs_name(name) for name in self.amqp.queues.consume_from)

    def send_task(
        self, name: str, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult | EagerResult:
        """Publish a call of a task by name, whether or not this process has it. Options as ``Task.apply_async``."""
        return publishing.send_task(cast("Celery", self), name, args, kwargs, **options)

    def batch(self) -> AbstractContextManager[None]:
        """``with app.batch():`` sends what this thread publishes inside at its end: ten to a request, several at once.

        Celery has none. What was published before an exception is sent all the same. Raises ``pyqs.errors.SendFailed`` at the
        end when not all of it was accepted; it names the calls.
        """
        return batching()
