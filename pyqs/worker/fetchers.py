"""The fetchers of all queues: one each, more while a queue answers at once, replaced when silent.

Owns: which fetcher threads there are. ``sync`` is called by discovery, ``watch`` by the main thread, growth comes from the
fetchers themselves. Never receives anything itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pyqs.clock import boottime
from pyqs.queues.queue_options import PLAIN, QueueOptions
from pyqs.worker.fetcher import Fetcher, QueueState, Tools, longest_wait

log = logging.getLogger(__name__)

#: Seconds beyond its wait after which a silent poll is replaced (design decision 13).
SILENCE = 30.0
#: Seconds between two looks after which this process has been stopped or its machine suspended: nobody was silent.
PAUSE = 10.0
#: Polls of one queue replaced in a row, without an answer in between, before the worker gives up.
MOST_REPLACED = 3


@dataclass(slots=True)
class _Group:
    state: QueueState
    fetchers: list[Fetcher] = field(default_factory=list)
    number: int = 0
    replaced: int = 0
    answered: bool = False


class Fetchers:
    """Every fetcher of the worker."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] = {}
        self._leaving: list[Fetcher] = []
        self._stopped = False
        self._watched_at = boottime()
        self._awake_since = float("-inf")

    @property
    def states(self) -> list[QueueState]:
        """What is known of each queue that is received from."""
        with self._lock:
            return [group.state for _, group in sorted(self._groups.items())]

    @property
    def queues(self) -> list[str]:
        """Names of the queues that are received from."""
        with self._lock:
            return sorted(self._groups)

    def sync(
        self, queues: Mapping[str, str], options: Mapping[str, QueueOptions] = MappingProxyType({})
    ) -> tuple[list[str], list[str]]:
        """Receive from exactly these (name -> URL), with these options; the names that were added, and those dropped."""
        self._tools.facts.learn(queues)
        self._tools.credit.learn({name: options.get(name, PLAIN) for name in queues})
        with self._lock:
            if self._stopped:
                return [], []
            dropped = [name for name, group in self._groups.items() if queues.get(name) != group.state.url]
            for name in dropped:
                self._end(name)
            added = [name for name in queues if name not in self._groups]
            for name in added:
                self._groups[name] = _Group(QueueState(name, queues[name]))
                self._add(self._groups[name], extra=False)
        self._tools.credit.wake()
        return added, [name for name in dropped if name not in queues]

    def drop(self, queue: str) -> bool | None:
        """The queue does not exist: whether it has answered before, None when it was dropped already."""
        with self._lock:
            group = self._groups.get(queue)
            if group is not None:
                self._end(queue)
        self._tools.credit.wake()
        return None if group is None else group.answered

    def grow(self, queue: str) -> None:
        """One more fetcher for this queue, up to the configured number."""
        with self._lock:
            group = self._groups.get(queue)
            if group is None or self._stopped:
                return
            group.fetchers = [one for one in group.fetchers if one.alive]
            if len(group.fetchers) < self._tools.config.fetchers_per_queue:
                self._add(group, extra=True)

    def watch(self) -> str | None:
        """Replace polls that do not end; why the worker should give up, if it should."""
        now = boottime()
        if now - self._watched_at > PAUSE:
            self._awake_since = now
        self._watched_at = now
        limit = now - longest_wait(self._tools.config) - SILENCE
        if self._awake_since > limit:
            return None
        with self._lock:
            if self._stopped:
                return None
            for group in self._groups.values():
                for one in [f for f in group.fetchers if f.polling_since is not None and f.polling_since < limit]:
                    group.replaced += 1
                    log.error("a poll of queue %s does not end; it is given up and replaced", group.state.name)
                    one.abandon()
                    group.fetchers.remove(one)
                    self._leaving.append(one)
                    if group.replaced >= MOST_REPLACED:
                        return f"{group.replaced} polls of queue {group.state.name} in a row have not ended"
                    self._add(group, extra=False)
        return None

    def answered(self, queue: str) -> None:
        """A poll of this queue has ended as it should."""
        group = self._groups.get(queue)
        if group is not None:
            group.replaced = 0
            group.answered = True

    def stop(self) -> None:
        """No more receives; open polls are left to answer, and what they bring is released."""
        with self._lock:
            self._stopped = True
            for name in list(self._groups):
                self._end(name)
        self._tools.credit.wake()

    def polling(self) -> int:
        """How many polls are open."""
        with self._lock:
            everyone = [*self._leaving, *(one for group in self._groups.values() for one in group.fetchers)]
        return sum(one.alive for one in everyone if not one.abandoned)

    def _end(self, name: str) -> None:
        group = self._groups.pop(name)
        self._tools.in_flight.forget(name)
        for one in group.fetchers:
            one.stop()
        self._leaving = [one for one in self._leaving if one.alive] + group.fetchers

    def _add(self, group: _Group, *, extra: bool) -> None:
        name = group.state.name
        fetcher = Fetcher(group.state, group.number, self._tools, extra=extra, grow=lambda: self.grow(name))
        group.number += 1
        group.fetchers.append(fetcher)
        fetcher.start()
