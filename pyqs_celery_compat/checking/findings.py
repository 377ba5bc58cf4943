"""What is said of one use: where it is, what it is, and what becomes of it here.

Owns: ``Verdict``, ``Judgement``, ``Finding``. Pure values; everything else of ``checking`` makes or orders them. Never holds a
value of the user's settings, which may be a secret.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple


class Verdict(enum.Enum):
    """What becomes of a use; the values stand in the JSON."""

    SAME = "same"
    DIFFERENCE = "difference"
    #: Not known here: somebody has to look at it.
    LOOK = "look"
    NOT_SUPPORTED = "not-supported"


class Judgement(NamedTuple):
    """A verdict, and what there is to say: the difference, or what to do instead."""

    verdict: Verdict
    note: str = ""


SAME = Judgement(Verdict.SAME)


def differs(note: str) -> Judgement:
    """It works, with this difference."""
    return Judgement(Verdict.DIFFERENCE, note)


def unsupported(note: str) -> Judgement:
    """It does not work; the note says what there is instead."""
    return Judgement(Verdict.NOT_SUPPORTED, note)


def look(note: str) -> Judgement:
    """Nobody knows here."""
    return Judgement(Verdict.LOOK, note)


@dataclass(frozen=True, slots=True)
class Finding:
    """One use.

    Parameters:
        path: of the file, with ``/``, as seen from where the check was started; ``-A NAME`` for what an imported app says.
        line, column: from 1; 0 where there is no line.
        rule: which kind of use it is, a word of docs/checking.md.
        use: the use in few words, such as ``app.control.revoke``.
    """

    path: str
    line: int
    column: int
    rule: str
    use: str
    verdict: Verdict
    note: str = ""

    def order(self) -> tuple[str, int, int, str, str]:
        """Sorts findings by place."""
        return self.path, self.line, self.column, self.rule, self.use

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return {
            "file": self.path,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
            "use": self.use,
            "verdict": self.verdict.value,
            "note": self.note,
        }
