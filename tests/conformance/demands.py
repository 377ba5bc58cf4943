"""What of Celery's own tests must pass: the files, the floor of each, and the tests that we fail on purpose.

Owns: the list of files, the reading of ``exceptions.txt`` and the verdict on a file. Functions are counted as a file defines
them: one that three classes inherit or that has forty cases is one, and passes if all of these pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rule

EXCEPTIONS = Path(__file__).with_name("exceptions.txt")
#: So many tests of a file may be failed on purpose; of a file that is taken whole, none.
MOST_EXCEPTIONS = 10


@dataclass(frozen=True)
class Demand:
    """A file of Celery's under ``t/unit``, and how many of its test functions must pass.

    Attributes:
        name: the path without ``.py``.
        whole: every function counts; else those that the rule leaves.
        percent: so much of what counts must pass, of which a function that the file itself skips is no part.
        floor: so many functions must pass, in place of a percentage.
    """

    name: str
    whole: bool = False
    percent: int = 0
    floor: int = 0

    def needed(self, counted: int) -> int:
        """How many functions must pass if so many count; a part of one is one more."""
        return self.floor or -(-counted * self.percent // 100)


DEMANDS = (
    Demand("tasks/test_context", whole=True, percent=98),
    Demand("tasks/test_states", whole=True, percent=98),
    Demand("app/test_exceptions", whole=True, percent=98),
    Demand("app/test_routes", whole=True, percent=98),
    Demand("utils/test_local", whole=True, percent=98),
    Demand("utils/test_dispatcher", whole=True, percent=98),
    Demand("test_generics", whole=True, percent=98),
    Demand("contrib/test_abortable", whole=True, percent=98),
    Demand("app/test_schedules", whole=True, percent=98),
    Demand("contrib/django/test_task", whole=True, percent=98),
    Demand("tasks/test_tasks", floor=88),
    Demand("app/test_app", floor=100),
    Demand("app/test_amqp", floor=72),
    Demand("app/test_log", floor=22),
    Demand("app/test_builtins", percent=95),
    Demand("app/test_annotations", percent=95),
    Demand("app/test_defaults", percent=95),
    Demand("app/test_registry", percent=95),
    Demand("tasks/test_canvas", floor=220),
    Demand("tasks/test_result", floor=80),
    Demand("backends/test_base", floor=75),
    Demand("tasks/test_chord", floor=7),
    Demand("tasks/test_stamping", floor=10),
    Demand("contrib/test_worker", floor=3),
    Demand("contrib/test_manager", floor=3),
    Demand("contrib/test_pytest", floor=1),
    Demand("app/test_beat", floor=40),
)


@dataclass(frozen=True)
class Exemption:
    """A test that we fail on purpose: a line ``differs: file::class::test reason``."""

    file: str
    test: str
    reason: str


def exemptions(text: str) -> list[Exemption]:
    """The lines of ``exceptions.txt``; ValueError names one that cannot be read."""
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        keyword, _, rest = line.partition(" ")
        test, _, reason = rest.strip().partition(" ")
        file, _, function = test.partition("::")
        if keyword != "differs:" or not function or not reason.strip():
            raise ValueError(f"not 'differs: file::class::test reason': {line}")
        found.append(Exemption(file, function.replace("::", "."), reason.strip()))
    return found


def objections(demand: Demand, functions: list[rule.Function], exempt: list[Exemption]) -> list[str]:
    """What is wrong with the exceptions to the rule in this file, in words."""
    said = []
    if exempt and demand.whole:
        said.append(f"{demand.name} is taken whole: no exceptions")
    if len(exempt) > MOST_EXCEPTIONS:
        said.append(f"{demand.name} has {len(exempt)} exceptions, {MOST_EXCEPTIONS} are allowed")
    reasons = {function.name: function.reasons for function in functions}
    for one in exempt:
        if one.test not in reasons:
            said.append(f"{demand.name} defines no {one.test}, which is said to differ")
        elif reasons[one.test]:
            said.append(f"{one.test} is said to differ, but the rule leaves it out")
    return said


@dataclass(frozen=True)
class Result:
    """What became of a file's test functions. ``failed`` are names with a line each; ``passed`` and ``skipped`` names.

    Attributes:
        functions: what the file defines.
        left_out: by the rule.
        differs: failed on purpose; ``stale`` are those of them that pass.
        needed: must pass.
        error: why no test ran at all, in one line.
        objections: what is wrong with the exceptions.
    """

    file: str
    functions: int
    left_out: int
    differs: int
    passed: list[str]
    skipped: list[str]
    failed: dict[str, str]
    needed: int
    stale: list[str]
    error: str = ""
    objections: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many functions more must pass."""
        return max(0, self.needed - len(self.passed))

    @property
    def good(self) -> bool:
        return not (self.missing or self.error or self.stale or self.objections)


def left_out(demand: Demand, functions: list[rule.Function], *, genuine: bool) -> list[str]:
    """The functions that do not run. Genuine Celery has to pass all of a file, whatever the rule says."""
    return [] if demand.whole or genuine else [function.name for function in functions if function.reasons]


def judge(demand: Demand, functions: list[rule.Function], outcome: dict[str, str], *, genuine: bool, error: str = "") -> Result:
    """The verdict on a file of which pytest told these outcomes: ``""`` passed, ``"skip"`` skipped, else why it failed."""
    exempt = [] if genuine else [one for one in exemptions(EXCEPTIONS.read_text()) if one.file == demand.name]
    differing = {one.test for one in exempt}
    out = left_out(demand, functions, genuine=genuine)
    counted = [function.name for function in functions if function.name not in {*out, *differing}]
    told = {name: outcome.get(name, "did not run") for name in counted}
    skipped = [name for name, said in told.items() if said == "skip"]
    applicable = len(counted) - len(skipped)
    return Result(
        file=demand.name,
        functions=len(functions),
        left_out=len(out),
        differs=len(differing),
        passed=[name for name, said in told.items() if not said],
        skipped=skipped,
        failed={name: said for name, said in told.items() if said not in {"", "skip"}},
        needed=applicable if genuine else demand.needed(applicable),
        stale=sorted(name for name in differing if outcome.get(name) == ""),
        error=error,
        objections=tuple(objections(demand, functions, exempt)),
    )
