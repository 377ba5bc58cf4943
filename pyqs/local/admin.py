"""The admin path: faults read and set while the server runs.

Owns: ``/_pyqs/faults``. GET lists the rules; POST adds some: ``{"rules": ["short=3:rate=0.5", {"name": "empty"}]}``;
DELETE clears them. Runs in the connection's thread. Never answers another machine, nor a web page: it wants a JSON
content type, which a browser does not send across sites unasked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pyqs.errors import ConfigError
from pyqs.local.faults import Faults, Rule

ADMIN_PATH = "/_pyqs/faults"


def administer(
    faults: Faults, method: str, headers: Mapping[str, str], body: bytes, peer: str
) -> tuple[int, object, dict[str, str]]:
    """Answer one request: status, JSON payload, more headers."""
    if not (peer.startswith(("127.", "::ffff:127.")) or peer == "::1") or "origin" in headers:
        return 403, {"message": "only from this machine"}, {}
    if method == "DELETE":
        faults.clear()
    elif method == "POST":
        if "json" not in headers.get("content-type", ""):
            return 400, {"message": "Content-Type must be application/json"}, {}
        try:
            for rule in _rules(body):
                faults.add(rule)
        except ConfigError as error:
            return 400, {"message": str(error)}, {}
    elif method != "GET":
        return 400, {"message": "GET, POST or DELETE"}, {}
    return 200, {"rules": faults.describe()}, {}


def _rules(body: bytes) -> list[Rule]:
    try:
        given = json.loads(body)["rules"]
    except (ValueError, RecursionError, KeyError, TypeError):
        given = None
    if not isinstance(given, list):
        raise ConfigError('expected {"rules": [...]}')
    rules = []
    for item in given:
        if not isinstance(item, (str, dict)):
            raise ConfigError("a rule is a text or an object")
        rules.append(Rule.parse(item) if isinstance(item, str) else Rule.checked(item))
    return rules
