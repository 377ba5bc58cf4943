"""A task's message as Celery's worker holds it, by name: for libraries that look at one or wrap its methods, and their tests.

Owns: ``Request``, which tells what a message says. Loaded by those who ask for it only. The worker makes none and runs none:
here a message is a delivery, and what a task sees of it is ``task.request``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["Request"]

MISSING = object()

_INSTEAD = (
    "Request objects run no tasks here: signals tell of each step of a task (task_received, task_prerun, ...), and "
    "`pyqs worker` runs them"
)


class Request:
    """What a message says, to be read, subclassed and wrapped. A task's own class is named when a worker starts, and not used.

    Parameters:
        message: has ``headers``, ``properties`` and ``body``; with ``payload``, too, unless ``decoded``.
        task: what is looked for as ``request.task``. request_dict: the headers, where they are not the message's.
        decoded: the body is the arguments and options, not their bytes.
    """

    acknowledged = False
    time_start: float | None = None
    worker_pid: int | None = None

    def __init__(
        self,
        message: Any,
        on_ack: Any = None,
        hostname: str | None = None,
        eventer: Any = None,
        app: Any = None,
        connection_errors: Any = None,
        request_dict: Mapping[str, Any] | None = None,
        task: Any = None,
        on_reject: Any = None,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        decoded: bool = False,
        utc: bool = True,
        **options: Any,
    ) -> None:
        self.message, self.app, self.task, self.eventer, self.utc = message, app, task, eventer, utc
        self.request_dict: Mapping[str, Any] = (message.headers if headers is None else headers) or {}
        if request_dict is not None:
            self.request_dict = request_dict
        self.body = message.body if body is None else body
        self.hostname = hostname or socket.gethostname()
        self.connection_errors = connection_errors or ()
        self.args, self.kwargs, self._embed = self.body if decoded else message.payload
        told = self.request_dict
        self.id = self.task_id = told["id"]
        self.type = told["task"]
        self.name = self.task_name = told.get("shadow") or self.type
        self.root_id, self.parent_id = told.get("root_id"), told.get("parent_id")
        self.argsrepr, self.kwargsrepr = told.get("argsrepr", ""), told.get("kwargsrepr", "")
        self.eta, self.expires, self.time_limits = told.get("eta"), told.get("expires"), told.get("timelimit") or (None, None)
        self.group, self.group_index = told.get("group"), told.get("group_index")
        self.replaced_task_nesting = told.get("replaced_task_nesting", 0)
        self.stamped_headers = list(told.get("stamped_headers") or ())
        self.stamps = {name: told["stamps"][name] for name in self.stamped_headers if name in (told.get("stamps") or {})}
        self.errbacks, self.chord = self._embed.get("errbacks"), self._embed.get("chord")
        properties = message.properties or {}
        self.correlation_id, self.reply_to = properties.get("correlation_id"), properties.get("reply_to")
        info = getattr(message, "delivery_info", None) or {}
        self.delivery_info = {key: info.get(key) for key in ("exchange", "routing_key", "priority")}
        self.delivery_info["redelivered"] = bool(info.get("redelivered", False))

    @property
    def ignore_result(self) -> bool:
        """As the message says, else as its task does."""
        said = self.request_dict.get("ignore_result", MISSING)
        return bool(self.task.ignore_result if said is MISSING else said)

    @property
    def store_errors(self) -> bool:
        """Whether it is kept how it failed."""
        return not self.ignore_result or bool(self.task.store_errors_even_if_ignored)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self} {self.argsrepr or self.args} {self.kwargsrepr or self.kwargs}>"

    def __str__(self) -> str:
        return f"{self.name}[{self.id}]"

    def execute_using_pool(self, pool: Any, **kwargs: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def execute(self, loglevel: Any = None, logfile: Any = None) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_accepted(self, pid: int, time_accepted: float) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_timeout(self, soft: bool, timeout: float) -> NoReturn:
        """Nobody calls it: a killed task's ``on_failure`` has a TimeLimitExceeded."""
        raise NotImplementedError(_INSTEAD)

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_retry(self, exc_info: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)
