"""What the app itself says with ``-A``: its real settings and tasks, from the process that imports it and ends.

Owns: ``judge``. The child is ``appinfo``'s; what it answers has secrets starred out already. Adds to the findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat import appinfo
from pyqs_celery_compat.app.setting_table import FACTS
from pyqs_celery_compat.checking import rules
from pyqs_celery_compat.checking import settings as setting_rules
from pyqs_celery_compat.checking.collected import Collected, Named, Place
from pyqs_celery_compat.checking.findings import unsupported
from pyqs_celery_compat.checking.values import Value


def judge(app: str, include: tuple[str, ...], directory: str, found: Collected, *, has_source: bool) -> Mapping[str, Any]:
    """Judge the app's settings and note its tasks, routes and schedule; what the app told.

    Parameters:
        has_source: source was read, too: then what it says of a setting whose value it does not know is the app's to say.
    """
    facts = appinfo.read_facts(app, include, directory)
    place = Place(f"-A {app}", 0, 0)
    if has_source:
        _settle(found, {one["name"] for one in facts["settings"]})
    for one in facts["settings"]:
        name = one["name"]
        if name in FACTS:
            judged = setting_rules.judge(name, Value(one["known"], one["value"]), facts["serializers"])
            found.say(place, "pickle" if judged is rules.PICKLE else "setting", name, judged)
            found.settings.setdefault(name, []).append((Value(one["known"], one["value"]), place))
    for line in facts["errors"]:
        found.say(place, "setting", "a worker would not start", unsupported(line))
    for how, name in facts["named"]:
        found.named.append(Named(place, name, how))
    for queue in facts["queues"]:
        found.queues.setdefault(queue, place)
    return facts


def _settle(found: Collected, told: set[str]) -> None:
    """Drop what the source could not say of settings whose values the app tells."""
    unsaid = setting_rules.UNKNOWN_VALUE.note
    found.findings = [
        one for one in found.findings if one.note != unsaid or setting_rules.setting_of(one.use, found.namespaces) not in told
    ]
