"""What ``self.request`` is made of, from a decoded call.

Owns: that mapping. Pure; runs where a task runs or is told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat.protocol import CeleryCall


def request_values(call: CeleryCall, info: Mapping[str, Any], hostname: str, queue: str, delivery_count: int) -> dict[str, Any]:
    """What ``self.request`` is made of: the headers, then what Celery's worker adds (observed on Celery 5.7).

    Parameters:
        info: the call's ``delivery_info``.
        queue: as the app names it.
        delivery_count: how often SQS has handed the message out.
    """
    properties = dict(call.properties)
    priority = properties.get("priority")
    values = dict(call.headers)
    # One by one: a literal of so many would be made in parts, each a dict of its own (profiled).
    values["task"] = call.task
    values["id"] = call.id
    values["eta"] = call.eta_wire
    values["expires"] = call.expires_wire
    values["group"] = call.group
    values["group_index"] = call.group_index
    values["retries"] = call.retries
    values["timelimit"] = [call.time_limit, call.soft_time_limit]
    values["root_id"] = call.root_id
    values["parent_id"] = call.parent_id
    values["properties"] = properties
    values["reply_to"] = properties.get("reply_to")
    values["correlation_id"] = properties.get("correlation_id")
    values["hostname"] = hostname
    values["delivery_info"] = {
        "exchange": info.get("exchange", "") if call.protocol == 2 else "",
        "routing_key": queue,
        "priority": info.get("priority") if priority is None else priority,
        "redelivered": False,
    }
    values["is_eager"] = False
    values["callbacks"] = call.callbacks
    values["errbacks"] = call.errbacks
    values["chain"] = call.chain
    values["chord"] = call.chord
    values["delivery_count"] = delivery_count
    if call.protocol == 1:
        values["utc"] = call.utc
    return values
