"""Scale-in protection of the Amazon ECS task that a worker runs in (``--ecs-protect``): on while there is work, else off.

Owns: when the ECS agent is asked for what, and the one kind of request to it. Runs in a thread of its own; a call that hangs
holds up nothing else. Talks to the agent's own address alone, which is on this machine or on its link, without proxies or
redirects. A failure is said once and never stops the worker; without protection a stop is the usual one: SIGTERM, then the
task definition's ``stopTimeout``.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pyqs.clock import boottime
from pyqs.errors import ConfigError
from pyqs.worker.companion import Companion
from pyqs.worker.watched import Watched

log = logging.getLogger(__name__)

VARIABLE = "ECS_AGENT_URI"
PATH = "/task-protection/v1/state"
#: Seconds between two looks at whether the worker is busy.
TICK = 0.5
#: Minutes for which protection is asked, and seconds after which it is asked for again while there is work. When the worker
#: dies with its container still there, the former is how long the task stays protected.
MINUTES = 20
RENEWAL = 600.0
#: Seconds without work after which protection is given up: a worker that is idle for moments only does not call each time.
LINGER = 60.0
#: Seconds until a call that failed is tried again: the first time, and at most.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 120.0
#: Seconds in which the agent answers, which itself waits four for ECS; and bytes of its answer that are read.
PATIENCE = 6.0
_MOST_BYTES = 64 * 1024
_SHOWN = 300


class EcsProtection(Companion):
    """Keeps the ECS task protected while there is work.

    Parameters:
        environ: where ``ECS_AGENT_URI`` is.

    Raises:
        ConfigError: it is not there, or is no address of an ECS agent.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Callable[[], float] = boottime) -> None:
        super().__init__("ecs-protection", TICK)
        self._host, self._port, self._path = _agent((os.environ if environ is None else environ).get(VARIABLE, ""))
        self._clock = clock
        self._busy_at: float | None = None
        #: What the agent has last confirmed, and whether it may be on for all we know.
        self._on = False
        self._maybe_on = False
        self._renew_at = 0.0
        self._try_at = float("-inf")
        self._pause = FIRST_PAUSE
        self._failing = False

    def look(self, watched: Watched) -> None:
        """Ask for what should be, unless it is so."""
        now = self._clock()
        if watched.credit.held or watched.acker.pending:
            self._busy_at = now
        wanted = self._busy_at is not None and now - self._busy_at < LINGER
        due = (not self._on or now >= self._renew_at) if wanted else self._maybe_on
        if due and now >= self._try_at:
            self._set(wanted)

    def last_look(self, watched: Watched) -> None:
        """The worker holds nothing any more: the task may go."""
        if self._maybe_on:
            self._set(False)

    def _set(self, on: bool) -> None:
        """One call to the agent; what comes of it is kept here."""
        now = self._clock()
        self._maybe_on = self._maybe_on or on
        refusal = self._put(on)
        if refusal is None:
            self._on = self._maybe_on = on
            self._renew_at = now + RENEWAL
            self._try_at, self._pause = float("-inf"), FIRST_PAUSE
            if self._failing:
                log.info("--ecs-protect: the ECS agent answers again")
                self._failing = False
            log.debug("--ecs-protect: scale-in protection is %s", "on" if on else "off")
            return
        self._try_at = self._clock() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        if not self._failing:
            self._failing = True
            what = "set" if on else "given up"
            log.warning("--ecs-protect: scale-in protection could not be %s; it is tried again: %s", what, refusal)

    def _put(self, on: bool) -> str | None:
        """None when the agent has confirmed it, else why not."""
        asked: dict[str, Any] = {"ProtectionEnabled": on}
        if on:
            asked["ExpiresInMinutes"] = MINUTES
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        try:
            connection.request("PUT", self._path, json.dumps(asked), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as exc:
            return f"{type(exc).__name__}: {exc}"[:_SHOWN]
        finally:
            connection.close()
        return _refusal(answer.status, body, on)


def _refusal(status: int, body: bytes, on: bool) -> str | None:
    """What is wrong with an answer; None when it confirms what was asked."""
    try:
        said = json.loads(body)
        if status == 200 and said["protection"]["ProtectionEnabled"] is on:
            return None
    except (ValueError, KeyError, TypeError):
        pass
    return f"HTTP {status}: {body.decode(errors='replace')}"[:_SHOWN]


def _agent(uri: str) -> tuple[str, int, str]:
    """Host, port and path of the agent's endpoint.

    Raises:
        ConfigError: there is none, or the address is not this machine's or its link's.
    """
    if not uri:
        raise ConfigError(
            f"--ecs-protect: {VARIABLE} is not set, so this is no task of Amazon ECS (its agent sets it from version 1.65 on, "
            "Fargate from platform 1.4 on); leave the option out elsewhere"
        )
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or 80
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"--ecs-protect: {VARIABLE} is no address of an ECS agent: {uri!r}") from None
    if parts.scheme != "http" or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"--ecs-protect: {VARIABLE} is no address of an ECS agent: {uri!r}")
    if not (address.is_loopback or address.is_link_local):
        raise ConfigError(f"--ecs-protect: {VARIABLE} leads off this machine, to {host}; the ECS agent is at 169.254.170.2")
    return host, port, parts.path.rstrip("/") + PATH
