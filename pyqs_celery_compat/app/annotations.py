"""``task_annotations``: attributes of tasks that the configuration sets.

Owns: ``MapAnnotation``, and how the setting's forms become a list of annotations. Pure, but for an annotation given by its
dotted name, which is imported. Runs where a task is bound to its app. Never touches a task: that is ``Task.annotate``'s part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyqs_celery_compat.utils import imports


class MapAnnotation(dict[str, Any]):
    """Attributes by a task's name, ``*`` for all tasks."""

    def annotate_any(self) -> dict[str, Any] | None:
        """The attributes of all tasks."""
        return self._copy_of("*")

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """The attributes of this task."""
        return self._copy_of(task.name)

    def _copy_of(self, key: str) -> dict[str, Any] | None:
        return dict(self[key]) if key in self else None


def prepare(annotations: Any) -> Sequence[Any]:
    """The setting, one annotation or several, as a list: a dict becomes a ``MapAnnotation``, a dotted name what it names."""
    if annotations is None:
        return ()
    if not isinstance(annotations, (list, tuple)):
        annotations = (annotations,)
    return [MapAnnotation(one) if isinstance(one, dict) else imports.symbol_by_name(one) for one in annotations]


def resolve_all(annotations: Sequence[Any], task: Any) -> Iterator[dict[str, Any]]:
    """What they say of a task, to be set in this order: of each kind the first that says anything.

    What is for all tasks comes last and so wins over what is for this one, as in Celery (observed on 5.7).
    """
    made = [one() if isinstance(one, type) else one for one in annotations]
    for found in (
        next(filter(None, (one.annotate(task) for one in made)), None),
        next(filter(None, (one.annotate_any() for one in made)), None),
    ):
        if found:
            yield found
