"""What goes wrong on purpose: the faults that real SQS and real networks have, on demand.

Owns: the rules and their dice. Set in-process, by ``--fault``, or while running through the server's admin path; drawn
from any thread. Never fires without a rule.

A rule is ``NAME[=VALUE][:action=GLOB][:queue=GLOB][:rate=0..1][:times=N]``. Names that act on a whole call:

==============  =====================================================================================================
throttle        RequestThrottled, or the code given as the value (ThrottlingException)
error=500       InternalError, or with 503 ServiceUnavailable; nothing was done
drop=before     the connection closes without an answer, nothing was done; ``drop=after``: it was done
stall=SECONDS   nothing is done or answered for so long (3600 unless given), then the connection closes
latency=SECS    the call starts so much later
access-denied   AccessDenied
expired-token   ExpiredToken
==============  =====================================================================================================

and on messages (duplicate, reorder and undelete spare FIFO queues):

==============  =====================================================================================================
short=N         a receive brings 1 to N messages (3) however many there are
empty           a receive brings nothing, at once, although messages wait
expired-handle  a receipt handle is refused as expired
duplicate       a message that is handed out stays visible for others too
reorder         messages come in random order
undelete        a delete is acknowledged, and the message comes back
late-change-ok  changing the visibility of a message that is visible again answers OK and does nothing (AWS was seen to)
lag=SECONDS     the approximate counts are up to so old (60)
==============  =====================================================================================================
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pyqs.errors import ConfigError
from pyqs.local.attributes import COUNTS
from pyqs.local.service_error import ServiceError

_T = TypeVar("_T")
_REORDER_WINDOW = 100

#: name -> the value it has when none is given.
_NAMES: Mapping[str, str] = {
    "throttle": "RequestThrottled",
    "error": "500",
    "drop": "before",
    "stall": "3600",
    "latency": "0.02",
    "access-denied": "",
    "expired-token": "",
    "short": "3",
    "empty": "",
    "expired-handle": "",
    "duplicate": "",
    "reorder": "",
    "undelete": "",
    "late-change-ok": "",
    "lag": "60",
}
_CHOICES = {"throttle": ("RequestThrottled", "ThrottlingException"), "error": ("500", "503"), "drop": ("before", "after")}
_SECONDS = frozenset({"stall", "latency", "lag"})


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault. ``times`` is how often it still fires (None: without end)."""

    name: str
    value: str = ""
    action: str = "*"
    queue: str = "*"
    rate: float = 1.0
    times: int | None = None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read ``NAME[=VALUE][:option=...]``. Raises ConfigError."""
        head, *options = text.split(":")
        name, _, value = head.partition("=")
        fields: dict[str, Any] = {"name": name.strip(), "value": value.strip()}
        for option in options:
            key, separator, given = option.partition("=")
            if not separator or key not in ("action", "queue", "rate", "times"):
                raise ConfigError(f"fault {text!r}: {option!r} is not action=, queue=, rate= or times=")
            fields[key] = given
        return cls.checked(fields)

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Rule:
        """A rule from its fields, as JSON or text gives them. Raises ConfigError."""
        unknown = set(fields) - {"name", "value", "action", "queue", "rate", "times"}
        if unknown:
            raise ConfigError(f"a fault has no field {', '.join(sorted(unknown))}")
        name = str(fields.get("name", ""))
        if name not in _NAMES:
            raise ConfigError(f"unknown fault {name!r}; there are: {', '.join(sorted(_NAMES))}")
        value = str(fields.get("value", "") or _NAMES[name])
        try:
            rate = float(fields.get("rate", 1.0))
            times = fields.get("times")
            times = None if times is None else int(times)
            seconds = float(value) if name in _SECONDS else 0.0
            short = int(value) if name == "short" else 1
        except (TypeError, ValueError) as error:
            raise ConfigError(f"fault {name!r}: {error}") from error
        if not 0 <= rate <= 1 or not 0 <= seconds <= 86_400 or short < 1 or (times is not None and times < 1):
            raise ConfigError(f"fault {name!r}: out of range")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigError(f"fault {name!r} takes {' or '.join(_CHOICES[name])}, not {value!r}")
        return cls(name, value, str(fields.get("action", "*")), str(fields.get("queue", "*")), rate, times)


class Faults:
    """The rules in force.

    Parameters:
        rules: texts or rules to start with.
        seed: makes the dice repeatable.
    """

    def __init__(self, rules: Sequence[str | Rule] = (), *, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._rules: tuple[Rule, ...] = ()
        self._released = threading.Event()
        self._old_counts: dict[str, tuple[float, dict[str, str]]] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: str | Rule) -> None:
        """Put one more rule in force. Raises ConfigError."""
        parsed = Rule.parse(rule) if isinstance(rule, str) else rule
        with self._lock:
            self._rules = (*self._rules, parsed)

    def clear(self) -> None:
        """No more faults; calls that are stalled end now."""
        with self._lock:
            self._rules = ()
            self._old_counts.clear()
        self.release()

    def release(self) -> None:
        """End the stalls that are under way; the rules stay."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    def describe(self) -> list[dict[str, Any]]:
        """The rules as JSON values."""
        return [asdict(rule) for rule in self._rules]

    # -- whole calls --------------------------------------------------------------------------------------------------

    def before(self, action: str, queue: str) -> None:
        """Let faults strike before an action is carried out. Raises ServiceError or Dropped; may sleep."""
        if not self._rules:
            return
        released = self._released
        if rule := self._draw("latency", action, queue):
            released.wait(float(rule.value))
        if rule := self._draw("stall", action, queue):
            released.wait(float(rule.value))
            raise Dropped
        if self._draw("drop", action, queue, "before"):
            raise Dropped
        if self._draw("expired-token", action, queue):
            raise ServiceError("ExpiredTokenException", "The security token included in the request is expired", status=403)
        if self._draw("access-denied", action, queue):
            text = f"User is not authorized to perform: sqs:{action.lower()} because no identity-based policy allows it"
            raise ServiceError("AccessDeniedException", text, status=403)
        if rule := self._draw("throttle", action, queue):
            raise ServiceError(rule.value, "Rate exceeded")
        if rule := self._draw("error", action, queue):
            if rule.value == "503":
                raise ServiceError("ServiceUnavailableException", "The service is unavailable. Try again.", status=503)
            raise ServiceError("InternalFailureException", "We encountered an internal error. Please try again.", status=500)

    def after(self, action: str, queue: str) -> None:
        """Let faults strike when an action was carried out and not yet answered. Raises Dropped."""
        if self._rules and self._draw("drop", action, queue, "after"):
            raise Dropped

    def _draw(self, name: str, action: str, queue: str, value: str | None = None) -> Rule | None:
        """The first rule of that name that applies here and whose dice fall, its ``times`` used."""
        with self._lock:
            for index, rule in enumerate(self._rules):
                if rule.name != name or (value is not None and rule.value != value):
                    continue
                if not fnmatchcase(action, rule.action) or not fnmatchcase(queue, rule.queue):
                    continue
                if rule.rate < 1 and self._random.random() >= rule.rate:
                    continue
                if rule.times is not None:
                    left = [replace(rule, times=rule.times - 1)] if rule.times > 1 else []
                    self._rules = (*self._rules[:index], *left, *self._rules[index + 1 :])
                return rule
        return None

    # -- messages -----------------------------------------------------------------------------------------------------

    def limit(self, queue: str, wanted: int) -> int:
        """How many messages a receive may bring; 0 means it is to be answered with nothing, at once."""
        if not self._rules:
            return wanted
        if self._draw("empty", "ReceiveMessage", queue):
            return 0
        rule = self._draw("short", "ReceiveMessage", queue)
        return min(wanted, self._random.randint(1, int(rule.value))) if rule else wanted

    def window(self, queue: str, limit: int) -> int:
        """From how many messages the ones to hand out are chosen: more than the limit when order is to be broken."""
        return _REORDER_WINDOW if self._rules and self._draw("reorder", "ReceiveMessage", queue) else limit

    def choose(self, rows: list[_T], limit: int, window: int) -> list[_T]:
        """The messages to hand out."""
        return rows[:limit] if window <= limit else self._random.sample(rows, min(limit, len(rows)))

    def duplicated(self, queue: str, rows: Sequence[_T]) -> list[_T]:
        """Those of the messages handed out that stay visible."""
        return [row for row in rows if self._draw("duplicate", "ReceiveMessage", queue)] if self._rules else []

    def survivors(self, queue: str, rows: Sequence[_T]) -> list[_T]:
        """Those of the messages deleted that come back."""
        return [row for row in rows if self._draw("undelete", "DeleteMessage", queue)] if self._rules else []

    def expires_handle(self, action: str, queue: str) -> bool:
        """Whether this receipt handle is refused as expired."""
        return bool(self._rules) and self._draw("expired-handle", action, queue) is not None

    def accepts_late_change(self, queue: str) -> bool:
        """Whether a change of visibility that comes too late is answered as if it had worked."""
        return bool(self._rules) and self._draw("late-change-ok", "ChangeMessageVisibility", queue) is not None

    def counts(self, queue: str, described: dict[str, str]) -> dict[str, str]:
        """Attributes with the approximate counts as they were some time ago."""
        rule = self._draw("lag", "GetQueueAttributes", queue) if self._rules else None
        if rule is None:
            return described
        now = time.monotonic()
        fresh = {name: described[name] for name in COUNTS if name in described}
        with self._lock:
            at, old = self._old_counts.get(queue, (now, fresh))
            if now - at > float(rule.value) or not fresh.keys() <= old.keys():
                at, old = now, fresh
            self._old_counts[queue] = (at, old)
        return {**described, **{name: old[name] for name in fresh}}
