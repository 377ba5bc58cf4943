"""What ``self.request`` is made of, from a decoded call.

Owns: that mapping. Pure; runs where a task runs or is told of.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.protocol import CeleryCall


def request_values(call: CeleryCall, hostname: str, queue: str, delivery_count: int) -> dict[str, Any]:
    """What ``self.request`` is made of: the headers, then what Celery's worker adds (observed on Celery 5.7)."""
    properties, info = dict(call.properties), call.delivery_info
    priority = properties.get("priority")
    values = {
        **call.headers,
        "task": call.task,
        "id": call.id,
        "eta": call.eta_wire,
        "expires": call.expires_wire,
        "group": call.group,
        "group_index": call.group_index,
        "retries": call.retries,
        "timelimit": [call.time_limit, call.soft_time_limit],
        "root_id": call.root_id,
        "parent_id": call.parent_id,
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id"),
        "hostname": hostname,
        "delivery_info": {
            "exchange": info.get("exchange", "") if call.protocol == 2 else "",
            "routing_key": queue,
            "priority": info.get("priority") if priority is None else priority,
            "redelivered": False,
        },
        "is_eager": False,
        "callbacks": call.callbacks,
        "errbacks": call.errbacks,
        "chain": call.chain,
        "chord": call.chord,
        "delivery_count": delivery_count,
    }
    if call.protocol == 1:
        values["utc"] = call.utc
    return values
