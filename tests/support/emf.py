"""CloudWatch's Embedded Metric Format, as its specification has it.

Owns: ``objections`` to a line. Pure; runs in the test's process.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

#: Of CloudWatch's API reference, MetricDatum.
_SIZES = [f"{size}{kind}" for size in ("", "Kilo", "Mega", "Giga", "Tera") for kind in ("bytes", "bits")]
UNITS = {"Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"}
UNITS |= {name[0].upper() + name[1:] + rate for name in _SIZES for rate in ("", "/Second")}
LARGEST = 256 * 1024


def objections(line: bytes) -> list[str]:
    """What is wrong with a line; nothing, if CloudWatch makes metrics of it."""
    found: list[str] = []

    def hold(right: bool, what: str) -> None:
        if not right:
            found.append(what)

    hold(line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) <= LARGEST, "one line of at most 256 KiB")
    document: dict[str, Any] = json.loads(line)
    metadata = document["_aws"]
    hold(metadata.keys() == {"Timestamp", "CloudWatchMetrics"}, "members of _aws")
    moment = metadata["Timestamp"]
    hold(type(moment) is int and abs(moment / 1000 - time.time()) < 600, "milliseconds since the epoch")
    hold(isinstance(metadata["CloudWatchMetrics"], list) and len(metadata["CloudWatchMetrics"]) > 0, "directives")
    for directive in metadata["CloudWatchMetrics"]:
        hold(directive.keys() == {"Namespace", "Dimensions", "Metrics"}, "members of a directive")
        hold(re.fullmatch(r"[^:].{0,254}", directive["Namespace"]) is not None, "a namespace")
        hold(len(directive["Dimensions"]) > 0, "sets of dimensions")
        for dimensions in directive["Dimensions"]:
            hold(isinstance(dimensions, list) and len(dimensions) <= 30, "a set of at most 30")
            hold(
                all(isinstance(document.get(name), str) and 0 < len(document[name]) <= 1024 for name in dimensions),
                "dimensions",
            )
        hold(0 < len(directive["Metrics"]) <= 100, "1 to 100 metrics")
        for metric in directive["Metrics"]:
            hold(metric.keys() <= {"Name", "Unit", "StorageResolution"} and "Name" in metric, "members of a metric")
            hold(metric.get("Unit", "None") in UNITS, f"the unit {metric.get('Unit')}")
            value = document.get(metric["Name"])
            hold(isinstance(value, int | float) and not isinstance(value, bool), f"{metric['Name']} is no number")
    return found
