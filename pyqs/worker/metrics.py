"""A worker's figures in Prometheus's text format.

Owns: the names, help texts and labels of ``/metrics``. Runs in the health thread; this module alone loads prometheus_client,
and is loaded with ``--health`` only. Everything is read from the worker's own counters at the moment of a scrape; nothing is
counted twice and nothing on the way of a message knows of it. Labels are queue names and statuses, so their number is bounded.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import pyqs
from pyqs.clock import boottime
from pyqs.worker.report import DURATIONS
from pyqs.worker.watched import Watched

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Q = ("queue",)


class Metrics(Collector):
    """Collects from whatever worker there is by now, in a registry of its own."""

    def __init__(self, watched: Callable[[], Watched | None]) -> None:
        self._watched = watched
        self._started_at = time.time()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """One scrape."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: the registry holds no other collector whose names could clash."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every figure as it is now."""
        labels = {"version": pyqs.__version__, "python": platform.python_version()}
        info = GaugeMetricFamily("pyqs_build_info", "This worker's versions; always 1.", labels=tuple(labels))
        info.add_metric(tuple(labels.values()), 1)
        yield info
        yield _gauge("pyqs_start_time_seconds", "When the worker was started, Unix time.", self._started_at)
        watched = self._watched()
        if watched is not None:
            yield from _tasks(watched)
            yield from _counts(watched)
            yield from _executors(watched)
            yield from _now(watched)
            yield from _queues(watched)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _tasks(watched: Watched) -> Iterator[Metric]:
    """By queue: what came, what started, how it ended and how long it took."""
    received = CounterMetricFamily("pyqs_deliveries_received", "Messages received, each receipt counted.", labels=_Q)
    started = CounterMetricFamily("pyqs_tasks_started", "Tasks that were started.", labels=_Q)
    ended = CounterMetricFamily(
        "pyqs_tasks_ended", "Deliveries that ended with a verdict, by what became of them.", labels=("queue", "status")
    )
    seconds = HistogramMetricFamily("pyqs_task_duration_seconds", "How long tasks ran.", labels=_Q)
    for queue, one in watched.totals.queues():
        received.add_metric((queue,), one.received)
        started.add_metric((queue,), one.started)
        for status, count in sorted(one.done.copy().items()):
            ended.add_metric((queue, status), count)
        buckets, total = [], 0
        for bound, count in zip([*map(str, DURATIONS), "+Inf"], one.durations, strict=True):
            total += count
            buckets.append((bound, total))
        seconds.add_metric((queue,), buckets, one.seconds)
    yield from (received, started, ended, seconds)


def _counts(watched: Watched) -> Iterator[Metric]:
    """What happened to deliveries and executors beside that."""
    totals = watched.totals
    for name, text, value in (
        ("pyqs_deliveries_released", "Deliveries given back to their queue unstarted.", totals.released),
        ("pyqs_deliveries_lost", "Deliveries whose executor died while it ran them, or ended them alone.", totals.lost),
        ("pyqs_leases_lost", "Deliveries that were, or could have been, handed out again while held here.", totals.lost_leases),
        ("pyqs_hops", "Messages due later that were sent again with a delay.", totals.hops),
        ("pyqs_follow_ups_sent", "Messages sent because a task ended: retries, links, next steps.", totals.follow_ups),
        ("pyqs_dead_letters_sent", "Messages copied to a dead-letter queue.", totals.dead_letters),
        ("pyqs_executor_restarts", "Executors that died after they were ready, and were replaced.", totals.restarts),
        ("pyqs_executors_recycled", "Executors replaced because they had served long enough.", totals.recycled),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _executors(watched: Watched) -> Iterator[Metric]:
    executors = GaugeMetricFamily("pyqs_executors", "Executor processes by what they do now.", labels=("state",))
    for state, count in watched.executors().items():
        executors.add_metric((state,), count)
    yield executors
    config = watched.config
    yield _gauge("pyqs_executors_wanted", "Executors that there should be.", config.concurrency)
    yield _gauge("pyqs_slots_busy", "Tasks that executors have in hand.", watched.slots_busy())
    slots = config.concurrency * config.runtime.async_slots
    yield _gauge("pyqs_slots_wanted", "Tasks that should be able to run at a time: executors times --async-slots.", slots)
    yield _gauge(
        "pyqs_oldest_running_task_seconds", "For how long the oldest running task has run; 0 without one.", watched.oldest()
    )


def _now(watched: Watched) -> Iterator[Metric]:
    yield _gauge("pyqs_deliveries_held", "Deliveries held: waiting here, or in an executor.", watched.credit.held)
    yield _gauge("pyqs_deliveries_buffered", "Of these, those that no executor has yet.", watched.pool.waiting)
    yield _gauge(
        "pyqs_verdicts_pending", "Deletes and hides, with their outboxes, that SQS has not accepted yet.", watched.acker.pending
    )
    yield _gauge("pyqs_stopping", "1 while the worker stops.", watched.stopping())
    failing = watched.acker.failing()
    failing["renew"] = watched.leases.failing
    failing["receive"] = sum(state.failing_since is not None for state in watched.fetchers.states)
    calls = GaugeMetricFamily("pyqs_calls_failing", "Queues on which this kind of call fails now.", labels=("call",))
    for call in ("receive", "delete", "hide", "send", "renew"):
        calls.add_metric((call,), failing[call])
    yield calls


def _queues(watched: Watched) -> Iterator[Metric]:
    """Each queue that is received from now."""
    up = GaugeMetricFamily("pyqs_queue_up", "1 while receives of this queue are answered.", labels=_Q)
    silence = GaugeMetricFamily("pyqs_queue_last_answer_seconds", "Seconds since its last answer.", labels=_Q)
    full = GaugeMetricFamily(
        "pyqs_queue_at_in_flight_limit", "1 while it holds as many messages in flight as SQS allows.", labels=_Q
    )
    now = boottime()
    limited = set(watched.in_flight.full)
    for state in watched.fetchers.states:
        name, answered_at = (state.name,), state.answered_at
        up.add_metric(name, answered_at is not None and state.failing_since is None)
        if answered_at is not None:
            silence.add_metric(name, now - answered_at)
        full.add_metric(name, state.name in limited)
    yield from (up, silence, full)
