"""What Celery has in ``celery.canvas``: signatures and what is made of several.

Owns: the names, whose classes are in modules of their own. Importing it registers them all, so that a dict from a message
becomes what it stands for. Runs where canvases are built, and where a worker publishes what follows a task.
"""

from __future__ import annotations

from pyqs_celery_compat.chains import _chain, chain
from pyqs_celery_compat.chords import _chord, chord
from pyqs_celery_compat.groups import chunks, group, xmap, xstarmap
from pyqs_celery_compat.signatures import Signature, maybe_signature, signature, subtask
from pyqs_celery_compat.stamping import GroupStampingVisitor, StampingVisitor

__all__ = (
    "GroupStampingVisitor",
    "Signature",
    "StampingVisitor",
    "_chain",
    "_chord",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
)
