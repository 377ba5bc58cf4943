"""What ``self.request`` is made of, from a decoded call.

Owns: that mapping. Pure; runs where a task runs or is told of.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.protocol import CeleryCall


def request_values(call: CeleryCall, hostname: str, queue: str) -> dict[str, Any]:
    """What ``self.request`` is made of: the headers, then what Celery's worker adds (observed on Celery 5.7)."""
    hard, soft = call.timelimit
    properties = dict(call.properties)
    values = {
        **call.headers,
        "task": call.task,
        "id": call.id,
        "eta": call.eta_wire,
        "expires": call.expires_wire,
        "group": call.group,
        "group_index": call.group_index,
        "retries": call.retries,
        "timelimit": [hard, soft],
        "root_id": call.root_id,
        "parent_id": call.parent_id,
        "properties": properties,
        "reply_to": call.reply_to,
        "correlation_id": call.correlation_id,
        "hostname": hostname,
        "delivery_info": {
            "exchange": call.delivery_info.get("exchange", "") if call.protocol == 2 else "",
            "routing_key": queue,
            "priority": call.priority,
            "redelivered": False,
        },
        "is_eager": False,
        "callbacks": call.callbacks,
        "errbacks": call.errbacks,
        "chain": call.chain,
        "chord": call.chord,
    }
    if call.protocol == 1:
        values["utc"] = call.utc
    return values
