"""Which content types a worker reads: what it was told, else the app's law, else everything that runs no code.

Owns: that choice, and what is said about it. Runs while the app is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyqs_celery_compat.serialization import Accept

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


def acceptance(
    app: Celery, named: bool, said: tuple[str, ...] | None, pickle_allow: tuple[str, ...], max_payload: int
) -> tuple[Accept, list[str]]:
    """What may be read, and what to say about it.

    Parameters:
        named: the worker was given this app (``-A``), so that its ``accept_content`` counts.
        said: ``--accept``, or None.
        pickle_allow: patterns of names that pickles may hold.
        max_payload: most bytes of a decompressed body.
    """
    notes = []
    if said is not None:
        accept = Accept.from_names(said, pickle_allow)
        if named:
            notes.append(f"--accept {','.join(accept.names())} replaces the app's accept_content ({','.join(_law(app))})")
    elif named:
        accept = Accept.from_names(_law(app), pickle_allow)
    else:
        accept = Accept.default(pickle_allow)
    if accept.pickle_full:
        notes.append("any pickle is read: whoever can write to these queues can run code here")
    return accept.with_max_size(max_payload), notes


def _law(app: Celery) -> tuple[str, ...]:
    """The app's ``accept_content``, to the letter: an empty list accepts nothing."""
    said = app.conf.accept_content
    return ("json",) if said is None else tuple(map(str, said))
