"""The worker's signals: what Celery's parent process tells of itself, sent by the host, each once in the life of a worker, but
for heartbeat_sent.

Owns: which signal follows from which event, the life of the app's bootsteps, and ``HostedWorker``, which stands for the worker
in both. Runs in the host's main thread, but for ``make_steps``. Never sends one in an executor.

Order and senders (observed on Celery 5.7): celeryd_init, worker_init, steps are made, celeryd_after_setup, steps start;
worker_ready; worker_shutting_down, steps are closed and stopped; worker_shutdown. The two celeryd signals and
worker_shutting_down have the node's name as sender, the others the worker. heartbeat_sent comes every two seconds from
worker_ready on, while the worker is alive.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pyqs.errors import MessageError
from pyqs_celery_compat import signals
from pyqs_celery_compat.envelope import Envelope, open_envelope

if TYPE_CHECKING:
    from pyqs.message import Delivery
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.bootsteps import Blueprint
    from pyqs_celery_compat.protocol import CeleryCall

log = logging.getLogger(__name__)


class HostedWorker:
    """What receivers get where Celery gives its worker, or the worker's consumer.

    Attributes:
        app, hostname, pid (of the worker's process), concurrency, loglevel. controller: itself, as a consumer has it.
        steps: the bootsteps that take part. blueprint: which starts and stops them, None where there are none.
    """

    #: Calls functions later, in a thread of the host: there where a step needs ``celery.worker.components:Timer``.
    timer: Any

    def __init__(self, app: Celery, hostname: str, details: Mapping[str, str | int]) -> None:
        self.app = app
        self.hostname = hostname
        self.pid = details.get("pid")
        self.concurrency = details.get("concurrency")
        self.loglevel = details.get("log_level")
        self.steps: list[Any] = []
        self.blueprint: Blueprint | None = None

    @property
    def controller(self) -> HostedWorker:
        """The worker of a consumer."""
        return self

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname}>"


class WorkerEvents:
    """Sends the signals of one worker.

    Parameters:
        hostname: the node's name.
    """

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._worker = HostedWorker(app, hostname, {})

    def happened(self, name: str, details: Mapping[str, str | int]) -> None:
        """Send what follows from an event of the worker."""
        {"starting": self._starting, "ready": self._ready, "stopping": self._stopping, "stopped": self._stopped}[name](details)

    def alive(self) -> None:
        """Send that the worker lives."""
        if signals.heartbeat_sent.receivers:
            signals.heartbeat_sent.send(sender=self._worker)

    def _starting(self, details: Mapping[str, str | int]) -> None:
        self._worker = worker = HostedWorker(self._app, self._hostname, details)
        options: dict[str, Any] = {"concurrency": worker.concurrency, "loglevel": worker.loglevel, "hostname": worker.hostname}
        signals.celeryd_init.send(sender=self._hostname, instance=worker, conf=self._app.conf, options=options)
        signals.worker_init.send(sender=worker)
        if self._app.steps["worker"]:
            from pyqs_celery_compat.bootsteps import Blueprint

            worker.blueprint = Blueprint(self._app.steps["worker"], name="Worker")
            worker.blueprint.apply(worker, **options)
        signals.celeryd_after_setup.send(sender=self._hostname, instance=worker, conf=self._app.conf)
        if worker.blueprint is not None:
            worker.blueprint.start(worker)

    def _ready(self, details: Mapping[str, str | int]) -> None:
        signals.worker_ready.send(sender=self._worker)

    def _stopping(self, details: Mapping[str, str | int]) -> None:
        signals.worker_shutting_down.send(
            sender=self._hostname, sig=details.get("sig"), how=details.get("how"), exitcode=details.get("exitcode", 0)
        )
        if self._worker.blueprint is not None:
            self._worker.blueprint.stop(self._worker, terminate=details.get("how") == "Cold")

    def _stopped(self, details: Mapping[str, str | int]) -> None:
        signals.worker_shutdown.send(sender=self._worker)


def make_steps(app: Celery, hostname: str) -> HostedWorker | None:
    """Make the app's worker steps in a new executor; what keeps them, as receivers are weak. None where there are none.

    Celery makes them before it forks, so that its children have what a step does when it is made: django-structlog's connects
    the signals of tasks. They are not created or started here, and one that cannot be made has stopped the host, not this.
    """
    if not app.steps["worker"]:
        return None
    from pyqs_celery_compat.bootsteps import Blueprint

    worker = HostedWorker(app, hostname, {})
    worker.blueprint = Blueprint(app.steps["worker"], name="Worker")
    try:
        worker.blueprint.make(worker, hostname=hostname, concurrency=None, loglevel=None)
    except Exception:
        log.exception("a step of app.steps['worker'] could not be made in an executor; tasks run without it")
    return worker


def unread(delivery: Delivery, exc: MessageError, call: CeleryCall | None, status: str) -> None:
    """Send what follows from a message that stays on its queue because it cannot be run: ``task_unknown`` where nobody knows
    its task, ``task_rejected`` where it cannot be read. In the executor that has tried; the message is not settled by it."""
    if status == "unknown" and call is not None and signals.task_unknown.receivers:
        signals.task_unknown.send(sender=None, message=_message(delivery), exc=exc, name=call.task, id=call.id)
    elif status in ("undecodable", "refused") and signals.task_rejected.receivers:
        signals.task_rejected.send(sender=None, message=_message(delivery), exc=exc)


def _message(delivery: Delivery) -> SimpleNamespace:
    """What receivers get where Celery has kombu's message: what is in its envelope, or the raw body where there is none."""
    body: Any = delivery.message.body
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    with contextlib.suppress(MessageError):
        opened = open_envelope(body)
        if isinstance(opened, Envelope):
            body, headers, properties = opened.payload, opened.headers, opened.properties
    return SimpleNamespace(
        body=body,
        headers=headers,
        properties=properties,
        delivery_info={"routing_key": delivery.queue, "sqs_queue": delivery.queue_url},
        delivery_tag=delivery.message.message_id,
    )
