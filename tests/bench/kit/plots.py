"""Plots of recorded lines: rate against distance, and rate against backlog.

Owns: the two figures, as PNG. Runs in the benchmark's main thread; matplotlib is installed by the nox session alone and
imported here alone. Never shows a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.rounds import spread
from kit.summary import by_round, names


def plot(
    groups: Mapping[float, Sequence[dict[str, Any]]], path: Path, *, title: str, x_title: str, log_x: bool = False
) -> None:
    """Tasks a second of each peer, the lowest and the highest as bars, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.5, 5.2))
    every = [line for lines in groups.values() for line in lines]
    colours = pyplot.get_cmap("tab20").colors  # type: ignore[attr-defined]
    for index, name in enumerate(names(every)):
        points = {x: list(by_round(lines, name, "rate").values()) for x, lines in sorted(groups.items())}
        known = {x: spread(rates) for x, rates in points.items() if rates}
        middle = [one.median for one in known.values()]
        bars = [[one.median - one.low for one in known.values()], [one.high - one.median for one in known.values()]]
        wide = 2.6 if name == "pyqs" else 1.2
        style = {"linewidth": wide, "marker": "o", "markersize": 3, "capsize": 2, "color": colours[index % len(colours)]}
        axes.errorbar(list(known), middle, yerr=bars, label=name, **style)
    axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log")
    axes.set(title=title, xlabel=x_title, ylabel="tasks a second")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
