"""The worker's signals: what Celery's parent process tells of itself, sent by the host, each once in the life of a worker.

Owns: which signal follows from which event, and ``HostedWorker``, which stands for the worker in them. Runs in the host's
main thread. Never sends one in an executor.

Order and senders (observed on Celery 5.7): celeryd_init, worker_init, celeryd_after_setup; worker_ready; worker_shutting_down;
worker_shutdown. The two celeryd signals and worker_shutting_down have the node's name as sender, the others the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import signals

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class HostedWorker:
    """What receivers get where Celery gives its worker, or the worker's consumer.

    Attributes:
        app, hostname, pid (of the worker's process), concurrency, loglevel. controller: itself, as a consumer has it.
    """

    def __init__(self, app: Celery, hostname: str, details: Mapping[str, str | int]) -> None:
        self.app = app
        self.hostname = hostname
        self.pid = details.get("pid")
        self.concurrency = details.get("concurrency")
        self.loglevel = details.get("log_level")

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

    def _starting(self, details: Mapping[str, str | int]) -> None:
        self._worker = worker = HostedWorker(self._app, self._hostname, details)
        options: dict[str, Any] = {"concurrency": worker.concurrency, "loglevel": worker.loglevel, "hostname": worker.hostname}
        signals.celeryd_init.send(sender=self._hostname, instance=worker, conf=self._app.conf, options=options)
        signals.worker_init.send(sender=worker)
        signals.celeryd_after_setup.send(sender=self._hostname, instance=worker, conf=self._app.conf)

    def _ready(self, details: Mapping[str, str | int]) -> None:
        signals.worker_ready.send(sender=self._worker)

    def _stopping(self, details: Mapping[str, str | int]) -> None:
        signals.worker_shutting_down.send(
            sender=self._hostname, sig=details.get("sig"), how=details.get("how"), exitcode=details.get("exitcode", 0)
        )

    def _stopped(self, details: Mapping[str, str | int]) -> None:
        signals.worker_shutdown.send(sender=self._worker)
