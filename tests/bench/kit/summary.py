"""What several rounds say, as lines on the terminal.

Owns: the form. Runs in the benchmark's main thread. Never measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.rounds import Spread, ratios, spread


def by_round(lines: Sequence[dict[str, Any]], peer: str, figure: str) -> dict[int, float]:
    """round -> this figure of this peer."""
    return {line["round"]: line[figure] for line in lines if line["peer"] == peer and figure in line}


def names(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The peers, pyqs first."""
    found = dict.fromkeys(line["peer"] for line in lines)
    return sorted(found, key=lambda name: (name != "pyqs",))


def against(lines: Sequence[dict[str, Any]], peer: str, figure: str, ours: str = "pyqs") -> Spread | None:
    """Ours by this peer's, round by round."""
    return ratios(by_round(lines, ours, figure), by_round(lines, peer, figure))


def show(
    lines: Sequence[dict[str, Any]], figure: str, unit: str, *, digits: int = 0, also: Sequence[str] = (), ours: str = "pyqs"
) -> None:
    """Print medians, and the ratio of ours to each peer's with its lowest and highest."""
    print(f"  -- medians (lowest-highest); ratios are {ours} by the other, of one round each")
    for name in names(lines):
        own = spread(list(by_round(lines, name, figure).values()))
        ratio = against(lines, name, figure, ours)
        extra = "".join(_beside(lines, name, part, ours) for part in also)
        beside = "" if name == ours or ratio is None else f"  ratio {ratio.text()}"
        print(f"  {name:28} {own.text(digits)} {unit}{extra}{beside}", flush=True)


def _beside(lines: Sequence[dict[str, Any]], name: str, figure: str, ours: str) -> str:
    """One more figure of a peer, and what part of it ours is."""
    found = by_round(lines, name, figure)
    if not found:
        return ""
    ratio = None if name == ours else against(lines, name, figure, ours)
    return f"  {figure} {spread(list(found.values())).median:.3f}" + ("" if ratio is None else f" (x {ratio.median:.2f})")
