"""The figures of a live worker are those of docs/health.md, and the dashboard asks for none that are not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from probe import Probe

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = DOCS / "grafana-dashboard.json"
#: What Prometheus adds to each series that it scrapes.
OF_PROMETHEUS = {"job", "instance"}
FUNCTIONS = {"sum", "count", "max", "rate", "increase", "histogram_quantile", "vector", "time"}
WORDS = {"by", "or", "le"}
TOKEN = re.compile(
    r"""\s*(?:(?P<name>[a-zA-Z_:][\w:]*)|(?P<number>\d+(?:\.\d+)?)|(?P<matchers>\{[^{}]*\})|(?P<range>\[[^\[\]]*\])"""
    r"""|(?P<open>\()|(?P<close>\))|(?P<operator>==|[-/,]))"""
)
MATCHER = re.compile(r'([a-z_]+)(=~|=|!=|!~)"([^"]*)"')


def described(scrape: str) -> dict[str, set[str]]:
    """Name of a family -> its labels, of all that a page shows."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scrape):
        name = family.name + "_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = labels - {"le"} if family.type == "histogram" else labels
    return found


def series(scrape: str) -> dict[str, set[str]]:
    """Name of a series -> its labels: what a query can ask for."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(pyqs_\w+)` \| ([\w, ]*)\|", (DOCS / "health.md").read_text(), re.MULTILINE)
    return {name: {label.strip() for label in labels.split(",") if label.strip()} for name, labels in rows}


def expressions() -> list[str]:
    """Every query of the dashboard, those of its variables included."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert asked, variable["query"]
            found.append(f"count by ({asked[2]}) ({asked[1]})")
    return found


def wrong_with(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What a query names that is not there: read token by token, so that nothing of it is passed over."""
    said, at, depth, names, grouped = [], 0, 0, [], set()
    text = expression.strip()
    grouping = False
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            return [f"not understood: {text[at:]}"]
        at, kind, word = token.end(), token.lastgroup, token.group(token.lastgroup or "")
        depth += (kind == "open") - (kind == "close")
        if kind == "name" and grouping:
            grouped.add(word)
        elif kind == "name" and word == "by":
            grouping = True
        elif kind == "name" and word not in FUNCTIONS | WORDS:
            if word not in known:
                said.append(f"no such series: {word}")
            names.append(word)
        elif kind == "close":
            grouping = False
        elif kind == "matchers":
            matchers = [MATCHER.fullmatch(one.strip()) for one in word[1:-1].split(",")]
            labels = known.get(names[-1], set()) | OF_PROMETHEUS
            said += [f"{word}: not understood" for one in matchers if one is None]
            said += [f"{names[-1]} has no label {one[1]}" for one in matchers if one is not None and one[1] not in labels]
    if depth or not names:
        said.append("unbalanced, or it asks for nothing")
    said += [f"{name} has no label {label}" for name in names for label in grouped - known.get(name, set()) - OF_PROMETHEUS]
    return said


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """One page for all tests of this module."""
    return {}


@pytest.fixture
def scrape(kept: dict[str, str], request: pytest.FixtureRequest) -> str:
    """The page of a worker on which a task has ended."""
    if "page" not in kept:
        sqs, start = request.getfixturevalue("sqs"), request.getfixturevalue("start_worker")
        sqs.create("jobs")
        sqs.native("jobs", "noop", 1)
        probe = Probe(start("-Q", "jobs", "-c", "1", "--health", "0"))
        probe.wait("/readyz", 200)
        probe.worker.wait_until(lambda: probe.figures().get(("pyqs_tasks_ended_total", "jobs", "succeeded")) == 1)
        kept["page"] = probe.get("/metrics")[1]
    return kept["page"]


def test_names_and_labels_are_those_of_the_documentation(scrape: str) -> None:
    assert described(scrape) == documented()


def test_the_dashboard_asks_for_what_is_there(scrape: str) -> None:
    known = series(scrape)
    queries = expressions()
    assert len(queries) > 30
    assert {query: said for query in queries if (said := wrong_with(query, known))} == {}


def test_every_figure_is_drawn(scrape: str) -> None:
    drawn = " ".join(expressions())
    assert [name for name in described(scrape) if not re.search(rf"\b{name}(_bucket|_sum)?\b", drawn)] == []


@pytest.mark.parametrize(
    "query",
    [
        'sum(pyqs_no_such_total{job=~"$job"})',
        'sum(rate(pyqs_tasks_ended_total{kind="x"}[5m]))',
        "sum by (kind) (pyqs_tasks_ended_total)",
        "sum(pyqs_tasks_ended_total",
        "sum(1)",
        'pyqs_tasks_ended_total{queue="a" & status="b"}',
        "pyqs_tasks_ended_total offset 5m",
    ],
)
def test_a_query_that_is_wrong_is_found(query: str) -> None:
    assert wrong_with(query, {"pyqs_tasks_ended_total": {"queue", "status"}})


def test_panels_lie_beside_each_other_and_have_ids_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        cells = set(_cells(panel["gridPos"]))
        assert not cells & taken, panel["title"]
        taken |= cells


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        assert x < 24
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
