"""``value``: the decorator of the small classes that every message passes through.

Owns: that decorator. Pure. For a type checker such a class is a frozen dataclass, and that is how it is to be used; at run time
it is a plain one, because a frozen one's ``__init__`` sets each field by a call: they were an eighth of what a no-op task cost
an executor (profiled).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda function: function


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a class a dataclass with slots, whose instances nobody changes."""
    return dataclass(slots=True)(cls)
