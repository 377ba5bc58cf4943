"""Revoke, as far as there is a store that workers look into: which one it is, who writes to it, and how a worker hears of it.

Owns: ``store_of``, ``revoke``, ``Watch`` and, for tests, ``InMemory``. ``revoke`` runs where code asks, ``Watch`` is a thread
of a worker's host: one read a second for the whole worker, whatever it runs. Never claims that a call is revoked which the
store has not taken.
"""

from __future__ import annotations

import logging
import signal as signals_of_the_system
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pyqs.message import CalledOff
from pyqs_celery_compat import states
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

log = logging.getLogger("pyqs_celery_compat.control")
control_log = logging.getLogger("celery.worker.control")

#: The option of ``broker_transport_options``, and its value for the app's own result backend.
OPTION, OWN = "revoke_store", "result-backend"
#: Seconds that a revoked id counts: as long as SQS keeps a message. What is due later comes by its worker before that.
KEPT = 14 * 86400.0
#: Seconds between two reads.
INTERVAL = 1.0
#: The most that are told to the worker at once.
AT_ONCE = 1000
#: So many are named in the log.
SHOWN = 20
#: The states in which a call has not begun, as far as its backend knows.
_NOT_BEGUN = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})
_told = False


def store_of(app: Celery) -> Any:
    """The backend that keeps which calls are revoked, None where revoke has no effect.

    Raises:
        ImproperlyConfigured: ``revoke_store`` names one that cannot.
    """
    named = (app.conf.broker_transport_options or {}).get(OPTION)
    if named is None:
        if getattr(app.backend, "keeps_revoked_unasked", False):
            return app.backend
        return in_memory if in_memory.workers and _broker_is_in_memory(app) else None
    if not named:
        return None
    if named == OWN:
        store, what = app.backend, f"the result backend, {type(app.backend).__name__},"
    else:
        from pyqs_celery_compat.app import backends

        cls, url = backends.by_url(named)
        store, what = cls(app=app, url=url), cls.__name__
    if not getattr(store, "keeps_revoked", False):
        raise ImproperlyConfigured(
            f"broker_transport_options[{OPTION!r}]: {what} cannot keep which calls are revoked; give a URL that begins "
            "with redis://, rediss:// or db+, or False for none"
        )
    return store


def _broker_is_in_memory(app: Celery) -> bool:
    try:
        return app.publisher.transport.in_memory
    except ImproperlyConfigured:  # another broker's, on which nothing is sent
        return False


class InMemory:
    """Which calls are revoked where the broker is ``memory://``: workers in this process, for tests, look into this.

    Attributes:
        workers: how many there are; while there are none, nobody would hear of it.
    """

    def __init__(self) -> None:
        self.workers = 0
        self._calls: list[CalledOff] = []

    def add_revoked(self, calls: Iterable[CalledOff]) -> None:
        """Keep that these calls are not to be run."""
        self._calls.extend(calls)

    def revoked_since(self, mark: int | None) -> tuple[int, list[CalledOff]]:
        """The mark for the next time, and what was added after this one (None: all)."""
        found = self._calls[mark or 0 :]
        return (mark or 0) + len(found), found


in_memory = InMemory()


def signal_number(name: Any) -> int:
    """The number of a signal, by its name. Raises ValueError where there is none."""
    from pyqs_celery_compat.platforms import signals

    try:
        return int(signals_of_the_system.Signals(signals.signum(name)))
    except (TypeError, AttributeError, ValueError):
        raise ValueError(f"revoke: {name!r} is no signal; give its name, as 'SIGTERM'") from None


def revoke(app: Celery, store: Any, task_id: Any, signal: int = 0) -> None:
    """Keep it in the store, and in the result backend the state of what has not begun.

    Parameters:
        task_id: one, or several. signal: not 0: what runs already is killed, and this is the signal that was asked for.

    Raises:
        kombu.exceptions.OperationalError: the store does not take it, so that no worker hears of it.
    """
    global _told
    ids = list(dict.fromkeys([task_id] if isinstance(task_id, (str, int)) else task_id or ()))
    until = time.time() + KEPT
    calls = [CalledOff(str(one), until, signal) for one in ids]
    if not calls:
        return
    if not _told and store is not in_memory:
        _told = True
        log.warning("revoke: workers of pyqs hear of it within a second or two; genuine Celery workers on SQS do not")
    try:
        store.add_revoked(calls)
    except Exception as exc:
        from kombu.exceptions import OperationalError

        raise OperationalError(f"revoke: its store did not take it, so it may run: {_said(exc)}") from exc
    _mark(app.backend, calls)


def _mark(backend: Any, calls: Iterable[CalledOff]) -> None:
    """Whoever waits for one that has not begun need not wait until its message comes by.

    As in Celery, where a worker does it, what has ended or is known to run keeps its state.
    """
    if not getattr(backend, "stores", True):
        return
    for one in calls:
        try:
            if backend.get_state(one.call_id) in _NOT_BEGUN:
                backend.mark_as_revoked(one.call_id, reason="revoked", store_result=True)
        except Exception as exc:
            log.warning("Failed to mark task %s as revoked in backend: %s", one.call_id, type(exc).__name__)
            return  # it is away, and each of the others would wait for it; workers mark them when they come by


def _said(exc: Exception) -> str:
    """One line: SQLAlchemy's errors have the statement in further ones."""
    return f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"


class Watch:
    """Reads from the store which calls are revoked, and tells.

    Parameters:
        tell: called with some of them. At once for the first time, with none if there are none, or if that cannot be known.
    """

    def __init__(self, store: Any, tell: Callable[[Sequence[CalledOff]], None]) -> None:
        self._store = store
        self._tell = tell
        self._mark: Any = None
        self._first = True
        self._away = False

    def start(self) -> None:
        """Read from now on, in a thread that ends with its process."""
        threading.Thread(target=self._run, name="pyqs-revoked", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            pause.wait(INTERVAL)

    def look(self) -> None:
        """One read."""
        first, self._first = self._first, False
        try:
            self._mark, found = self._store.revoked_since(self._mark)
        except Exception as exc:
            if not self._away:
                log.warning("cannot read which calls are revoked, known ones are heeded still: %s", _said(exc))
            self._away = True
            found = []
        else:
            if self._away:
                log.info("which calls are revoked can be read again")
            self._away = False
        if not first:
            flagged = [one.call_id for one in found if not one.signal]
            if flagged:
                more = f" and {len(flagged) - SHOWN} more" if len(flagged) > SHOWN else ""
                control_log.info("Tasks flagged as revoked: %s%s", ", ".join(flagged[:SHOWN]), more)
        now = time.time()
        found = [one for one in found if one.until > now]
        for at in range(0, len(found) or int(first), AT_ONCE):
            self._tell(found[at : at + AT_ONCE])
