"""``pyqs worker -B``: a beat in the worker's host.

Owns: ``HostedBeat``: the beat's thread, from the moment when the worker has a host until it stops. One that crashes begins
again, one whose schedule file another beat has waits for it. Runs in the host. Never outlives the host, and so never the
worker.
"""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.beat import ScheduleInUse, Service

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

log = logging.getLogger(__name__)

#: Seconds until a beat that could not begin, or has crashed, begins again.
AGAIN = 5.0
#: Seconds that it has to send what it is sending, and to write down the schedule.
PATIENCE = 10.0


class HostedBeat:
    """One worker's beat.

    Parameters:
        schedule, scheduler: the schedule file and the scheduler's class, if the command line names them.
    """

    def __init__(self, app: Celery, schedule: str | None, scheduler: str | None) -> None:
        self._app = app
        self._options: dict[str, Any] = {
            "schedule_filename": schedule,
            "scheduler_cls": scheduler or app.conf.beat_scheduler,
            "remote_control": False,
        }
        self._service: Service | None = None
        self._ended = Event()
        self._thread = Thread(target=self._run, name="Beat", daemon=True)

    def start(self) -> None:
        """Begin to send what is due."""
        self._thread.start()

    def end(self) -> None:
        """Stop, with the schedule written."""
        self._ended.set()
        if (service := self._service) is not None:
            service.stop()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.error("the worker's beat has not ended within %.0f s; what it is sending may be sent again", PATIENCE)

    def _run(self) -> None:
        self._app.set_current()
        waits = False
        while not self._ended.is_set():
            self._service = service = Service(self._app, **self._options)
            if self._ended.is_set():
                return
            try:
                service.start(embedded_process=True)
                if not self._ended.is_set():
                    log.error("the worker's beat has ended by itself; it begins again in %.0f s", AGAIN)
            except ScheduleInUse as exc:
                if not waits:
                    log.warning("the worker's beat waits until the other one has ended: %s", exc)
                waits = True
            except Exception:
                log.critical("the worker's beat has crashed; it begins again in %.0f s", AGAIN, exc_info=True)
                waits = False
            self._ended.wait(AGAIN)
