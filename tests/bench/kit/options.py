"""What a run was asked for.

Owns: ``Options`` and its command line. Pure. Never starts anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from kit.peers import Peer
from kit.servers import SERVERS


@dataclass(frozen=True)
class Options:
    """One run.

    Parameters:
        benches: by name.
        rounds: of each comparison.
        short: a tiny form that shows that everything runs; its figures mean nothing.
        servers, round_trips: where (milliseconds).
        peers: parts of their names; none means all.
        cases: of a bench that has several; none means all.
    """

    benches: tuple[str, ...]
    rounds: int
    short: bool
    servers: tuple[str, ...]
    round_trips: tuple[float, ...]
    peers: tuple[str, ...]
    cases: tuple[str, ...]
    window: float

    def choose(self, field: Sequence[Peer]) -> list[Peer]:
        """Those of the field that were asked for; pyqs always takes part, for the ratios."""
        return [
            peer
            for index, peer in enumerate(field)
            if index == 0 or not self.peers or any(part in peer.name for part in self.peers)
        ]

    def wants(self, case: str) -> bool:
        """Whether this case was asked for."""
        return not self.cases or case in self.cases


def read(argv: Sequence[str], benches: Sequence[str]) -> Options:
    """Of the command line. Exits with 2 on an unknown bench."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Benchmarks; they print ratios and assert nothing.")
    parser.add_argument("bench", nargs="*", help=f"of {', '.join(benches)}; none means all", metavar="BENCH")
    parser.add_argument("--rounds", type=int, help="of every comparison (default 5, with --short 1)")
    parser.add_argument("--short", action="store_true", help="a tiny form that only shows that it runs")
    parser.add_argument("--server", action="append", choices=SERVERS, help="only this one")
    parser.add_argument("--round-trip", action="append", type=float, metavar="MS", help="only this one (default 0, 5 and 20)")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="PART", help="only pyqs and peers whose name has this in it"
    )
    parser.add_argument("--case", action="append", default=[], help="only this case of a bench with several")
    parser.add_argument("--window", type=float, help="seconds of a drain at most (default 5, with --short 1)")
    given = parser.parse_args(argv)
    if unknown := set(given.bench) - set(benches):
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(benches)}")
    return Options(
        benches=tuple(given.bench or benches),
        rounds=given.rounds or (1 if given.short else 5),
        short=given.short,
        servers=tuple(given.server or (SERVERS[:1] if given.short else SERVERS)),
        round_trips=tuple(given.round_trip or ((0.0,) if given.short else (0.0, 5.0, 20.0))),
        peers=tuple(given.peer),
        cases=tuple(given.case),
        window=given.window or (1.0 if given.short else 5.0),
    )
