"""The module that a class or function says it is from, where that is to be Celery's name and not ours.

Owns: ``belongs_to``. Runs at import, in any process. Never moves anything: the name is what pickles, results and logs carry.
"""

from __future__ import annotations

import sys
from typing import Any


def belongs_to(module: str, *members: Any) -> None:
    """Set the ``__module__`` of these: classes or functions, or names of such in the calling module.

    Raises:
        NameError: the calling module has no such name.
    """
    here = sys._getframe(1).f_globals
    for member in members:
        if isinstance(member, str):
            if member not in here:
                raise NameError(f"{here.get('__name__')} has no {member!r}")
            member = here[member]
        member.__module__ = module
