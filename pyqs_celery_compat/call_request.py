"""What ``self.request`` is made of, from a decoded call.

Owns: that mapping. Pure; runs where a task runs or is told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs.message import Delivery, MessageAttribute
from pyqs_celery_compat.protocol import CeleryCall


class SqsMessage(dict[str, Any]):
    """A message as SQS handed it out. Its repr, which logs show, has neither the body nor the receipt handle."""

    def __repr__(self) -> str:
        return f"<SqsMessage {self.get('MessageId')}>"


def request_values(call: CeleryCall, info: Mapping[str, Any], hostname: str, queue: str, delivery: Delivery) -> dict[str, Any]:
    """What ``self.request`` is made of: the headers, then what Celery's worker adds (observed on Celery 5.7).

    Parameters:
        info: the call's ``delivery_info``.
        queue: as the app names it.
    """
    message = delivery.message
    sqs_message = SqsMessage(
        MessageId=message.message_id, ReceiptHandle=message.receipt_handle, Body=message.body, Attributes=message.attributes
    )
    if message.message_attributes:
        sqs_message["MessageAttributes"] = {name: _as_boto(one) for name, one in message.message_attributes.items()}
    properties = dict(call.properties)
    properties["delivery_info"] = {**info, "sqs_message": sqs_message, "sqs_queue": delivery.queue_url}
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
        "redelivered": delivery.receive_count > 1,
    }
    values["is_eager"] = False
    values["callbacks"] = call.callbacks
    values["errbacks"] = call.errbacks
    values["chain"] = call.chain
    values["chord"] = call.chord
    values["delivery_count"] = delivery.receive_count
    if call.protocol == 1:
        values["utc"] = call.utc
    return values


def _as_boto(attribute: MessageAttribute) -> dict[str, Any]:
    said = {
        "DataType": attribute.data_type, "StringValue": attribute.string_value, "BinaryValue": attribute.binary_value,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}
