"""Queue attributes: which exist, what they may hold, and what a queue's ones mean.

Owns: validation and defaults of queue attributes, the redrive policy, ARNs. Pure. Never touches storage.
Source: SQS API reference, CreateQueue, SetQueueAttributes and GetQueueAttributes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pyqs.local.service_error import ServiceError, bad_parameter

ACCOUNT = "000000000000"
MAX_MESSAGE_BYTES = 1_048_576

_RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
_CHOICES = {
    "SqsManagedSseEnabled": ("true", "false"),
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_JSON = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")
_FIFO_ONLY = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_SETTABLE = frozenset({*_RANGES, *_CHOICES, *_JSON, "KmsMasterKeyId"})
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
READABLE = frozenset({*_SETTABLE, *COUNTS, "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn"})

DEFAULTS: Mapping[str, str] = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS: Mapping[str, str] = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}


@dataclass(frozen=True, slots=True)
class Redrive:
    """A redrive policy: the dead-letter queue's name, and how many receives a message has."""

    target: str
    max_receives: int


def arn(region: str, name: str) -> str:
    """The ARN of a queue."""
    return f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"


def defaults(fifo: bool) -> dict[str, str]:
    """The attributes of a queue that was created with none."""
    return {**DEFAULTS, **_FIFO_DEFAULTS} if fifo else dict(DEFAULTS)


def _bad_value(name: str) -> ServiceError:
    return ServiceError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def unknown_attribute(name: str) -> ServiceError:
    """InvalidAttributeName in SQS's wording."""
    return ServiceError("InvalidAttributeName", f"Unknown Attribute {name}.")


def checked(attributes: Mapping[str, str], *, fifo: bool, creating: bool) -> dict[str, str]:
    """Attributes as given, each one checked and in its canonical spelling.

    An empty policy stays ``""``: it clears the attribute. Raises InvalidAttributeName, InvalidAttributeValue or
    InvalidParameterValue.
    """
    result = {}
    for name, value in attributes.items():
        if name not in _SETTABLE or (name in _FIFO_ONLY and not fifo) or (name == "FifoQueue" and not creating):
            raise unknown_attribute(name)
        result[name] = _canonical(name, value)
    return result


def _canonical(name: str, value: str) -> str:
    if name in _RANGES:
        low, high = _RANGES[name]
        if not (value.isascii() and value.isdigit() and len(value) <= 9 and low <= int(value) <= high):
            raise _bad_value(name)
        return str(int(value))
    if name in _CHOICES:
        spelled = value.lower() if _CHOICES[name][0] == "true" else value
        if spelled not in _CHOICES[name]:
            raise _bad_value(name)
        return spelled
    if name in _JSON and value:
        return _canonical_json(name, value)
    return value


def _canonical_json(name: str, value: str) -> str:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        if name == "Policy":
            raise _bad_value(name)
        raise bad_parameter(value, name, "Redrive policy is not a valid JSON map.")
    if name == "RedrivePolicy":
        for key in ("deadLetterTargetArn", "maxReceiveCount"):
            if key not in parsed:
                raise bad_parameter(value, name, f"Redrive policy does not contain mandatory attribute: {key}.")
        text = str(parsed["maxReceiveCount"])
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 1000):
            reason = "Invalid value for maxReceiveCount: " + text + ", valid values are from 1 to 1000 both inclusive."
            raise bad_parameter(value, name, reason)
        parsed["maxReceiveCount"] = int(text)
    return json.dumps(parsed, separators=(",", ":"))


def redrive(attributes: Mapping[str, str]) -> Redrive | None:
    """The redrive policy among checked attributes, or None."""
    text = attributes.get("RedrivePolicy")
    if not text:
        return None
    policy = json.loads(text)
    return Redrive(str(policy["deadLetterTargetArn"]).rpartition(":")[2], policy["maxReceiveCount"])


def may_redrive_to(target: Mapping[str, str], source_arn: str) -> bool:
    """Whether a dead-letter queue's RedriveAllowPolicy lets this source in."""
    policy = json.loads(target.get("RedriveAllowPolicy") or "{}")
    permission = policy.get("redrivePermission", "allowAll")
    if permission == "byQueue":
        return source_arn in policy.get("sourceQueueArns", ())
    return bool(permission != "denyAll")


def refuse_missing_target(policy: str) -> ServiceError:
    """The error for a redrive policy whose dead-letter queue is not there."""
    return bad_parameter(policy, "RedrivePolicy", "Dead letter target does not exist.")
