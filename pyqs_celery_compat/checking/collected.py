"""What a codebase says in several places and only together tells something: tasks, names of tasks, queues, settings.

Owns: ``Collected`` and its parts. Filled while the modules are gone through, read by ``across``. Pure values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pyqs_celery_compat.checking.findings import Finding, Judgement
from pyqs_celery_compat.checking.values import Value


class Place(NamedTuple):
    """Where something stands."""

    path: str
    line: int
    column: int


@dataclass(slots=True)
class Declared:
    """A task that the source declares.

    Parameters:
        name: None where only running it would tell. acks_late: None where it is not said. seconds: the longest that it is
            known to run: its limit, or what it sleeps.
    """

    place: Place
    name: str | None
    acks_late: Value | None = None
    seconds: float | None = None


class Named(NamedTuple):
    """A task called or scheduled by name; ``how`` says what by."""

    place: Place
    name: str
    how: str


@dataclass(slots=True)
class Collected:
    """All of it, and the findings that stand already."""

    findings: list[Finding] = field(default_factory=list)
    #: Serializers registered with kombu, namespaces of configurations, modules and classes that are one.
    registered: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=lambda: {"CELERY"})
    sources: set[str] = field(default_factory=set)
    tasks: list[Declared] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    queues: dict[str, Place] = field(default_factory=dict)
    chords: list[Place] = field(default_factory=list)
    etas: list[Place] = field(default_factory=list)
    settings: dict[str, list[tuple[Value, Place]]] = field(default_factory=dict)

    def say(self, place: Place, rule: str, use: str, judgement: Judgement) -> None:
        """Note what was found of one use."""
        self.findings.append(Finding(*place, rule, use, judgement.verdict, judgement.note))
