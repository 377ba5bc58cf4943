"""The receiving side of Celery's worker by name, for ``requires`` of consumer steps, which are refused where they are used.

Owns: these names. Never receives anything: ``pyqs.worker`` does.
"""

from __future__ import annotations

from pyqs_celery_compat.bootsteps import StartStopStep, Step

__all__ = ["Agent", "Connection", "Consumer", "Control", "Events", "Gossip", "Heart", "Mingle", "Tasks"]


class Consumer:
    """Celery's consumer: cannot be made here."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError("Consumer: the worker's receiving side is pyqs.worker, which no app can make or replace")


class Connection(StartStopStep):
    """The connection to the broker."""


class Events(StartStopStep):
    """Monitoring events, of which there are none."""

    requires = (Connection,)


class Mingle(StartStopStep):
    """Workers that talk to each other, which they do not."""

    requires = (Events,)


class Tasks(StartStopStep):
    """The queues' messages."""

    requires = (Mingle,)


class Control(StartStopStep):
    """Remote control, which there is none of."""

    requires = (Tasks,)


class Gossip(StartStopStep):
    """Workers that listen to each other, which they do not."""

    requires = (Mingle,)


class Heart(StartStopStep):
    """Heartbeats as events, of which there are none."""

    requires = (Events,)


class Agent(Step):
    """A supervisor, which there is none of."""

    requires = (Connection,)
