"""SQS's JSON protocol: one request's payload in, one answer's payload out.

Owns: the names and types of the fields of each action. Runs in the connection's thread. Never sees HTTP, never keeps
state: the rules are in the store.
Source: SQS API reference; the AWS JSON 1.0 protocol (a Blob is base64, a field that is null counts as absent).
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyqs.local import moves, validation
from pyqs.local.attributes import ACCOUNT, unknown_attribute
from pyqs.local.fields import Fields, bad_field
from pyqs.local.service_error import ServiceError, bad_parameter, missing_parameter
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage, ReceivedMessage, SentMessage

_SYSTEM_ATTRIBUTES = frozenset(
    {
        "All",
        "AWSTraceHeader",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
        "SqsManagedSseEnabled",
    }
)
#: Actions of SQS that are not there, so that the answer can say so.
UNSUPPORTED = frozenset({"AddPermission", "RemovePermission"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Parameters:
        base_url: scheme, host and port that the caller used; queue URLs in answers start with it.
        region: from the signature's credential scope.
        gone: whether the caller has hung up; asked before a long poll hands out messages.
    """

    base_url: str
    region: str
    gone: Callable[[], bool]


class Actions:
    """The actions of one store. ``seen`` counts the requests of each action, refused ones too."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen: Counter[str] = Counter()
        self._handlers: Mapping[str, Callable[[Fields, Caller], dict[str, Any]]] = {
            "CancelMessageMoveTask": self._cancel_move,
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            "CreateQueue": self._create_queue,
            "DeleteMessage": self._delete_message,
            "DeleteMessageBatch": self._delete_message_batch,
            "DeleteQueue": self._delete_queue,
            "GetQueueAttributes": self._get_attributes,
            "GetQueueUrl": self._get_url,
            "ListDeadLetterSourceQueues": self._list_sources,
            "ListMessageMoveTasks": self._list_moves,
            "ListQueueTags": self._list_tags,
            "ListQueues": self._list_queues,
            "PurgeQueue": self._purge_queue,
            "ReceiveMessage": self._receive,
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "SetQueueAttributes": self._set_attributes,
            "StartMessageMoveTask": self._start_move,
            "TagQueue": self._tag,
            "UntagQueue": self._untag,
        }

    def call(self, action: str, payload: object, caller: Caller) -> dict[str, Any]:
        """Carry out one action. Raises ServiceError, or Dropped when a fault wants the connection closed."""
        if not isinstance(payload, dict):
            raise bad_field("the request", "an object")
        fields = Fields(payload)
        handler = self._handlers.get(action)
        if handler is None:
            known = action in UNSUPPORTED
            shape, text = (
                ("UnsupportedOperation", "is not supported by pyqs local")
                if known
                else ("UnknownOperationException", "is no action of SQS")
            )
            raise ServiceError(shape, f"{action} {text}.")
        self.seen[action] += 1
        name = fields.queue_name_if_any()
        self.store.faults.before(action, name)
        answer = handler(fields, caller)
        self.store.faults.after(action, name)
        return answer

    # -- queues -------------------------------------------------------------------------------------------------------

    def _create_queue(self, fields: Fields, caller: Caller) -> dict[str, Any]:
        name = fields.required("QueueName")
        tags = fields.texts_by_name("tags") or fields.texts_by_name("Tags")
        self.store.create_queue(name, fields.texts_by_name("Attributes"), tags, region=caller.region)
        return {"QueueUrl": _url(caller, name)}

    def _get_url(self, fields: Fields, caller: Caller) -> dict[str, Any]:
        name = fields.required("QueueName")
        self.store.queue_tags(name)  # raises QueueDoesNotExist
        return {"QueueUrl": _url(caller, name)}

    def _list_queues(self, fields: Fields, caller: Caller) -> dict[str, Any]:
        limit = fields.limit("MaxResults")
        names, after = self.store.list_queues(fields.text("QueueNamePrefix") or "", limit, fields.page())
        return _page(caller, "QueueUrls", names, after)

    def _list_sources(self, fields: Fields, caller: Caller) -> dict[str, Any]:
        limit, after = fields.limit("MaxResults"), fields.page()
        names = [name for name in self.store.dead_letter_sources(fields.queue()) if name > after]
        page = names[: limit or len(names)]
        return _page(caller, "queueUrls", page, page[-1] if len(page) < len(names) else None)

    def _get_attributes(self, fields: Fields, _: Caller) -> dict[str, Any]:
        return {"Attributes": self.store.queue_attributes(fields.queue(), fields.texts("AttributeNames"))}

    def _set_attributes(self, fields: Fields, _: Caller) -> dict[str, Any]:
        self.store.set_queue_attributes(fields.queue(), fields.texts_by_name("Attributes"))
        return {}

    def _delete_queue(self, fields: Fields, _: Caller) -> dict[str, Any]:
        self.store.delete_queue(fields.queue())
        return {}

    def _purge_queue(self, fields: Fields, _: Caller) -> dict[str, Any]:
        self.store.purge_queue(fields.queue())
        return {}

    def _list_tags(self, fields: Fields, _: Caller) -> dict[str, Any]:
        return {"Tags": self.store.queue_tags(fields.queue())}

    def _tag(self, fields: Fields, _: Caller) -> dict[str, Any]:
        self.store.tag_queue(fields.queue(), fields.texts_by_name("Tags"))
        return {}

    def _untag(self, fields: Fields, _: Caller) -> dict[str, Any]:
        self.store.untag_queue(fields.queue(), fields.texts("TagKeys"))
        return {}

    def _start_move(self, fields: Fields, _: Caller) -> dict[str, Any]:
        source, target = fields.required("SourceArn"), fields.text("DestinationArn") or None
        return {"TaskHandle": self.store.start_move(source, target, fields.integer("MaxNumberOfMessagesPerSecond"))}

    def _list_moves(self, fields: Fields, _: Caller) -> dict[str, Any]:
        limit = fields.integer("MaxResults")
        found = self.store.list_moves(fields.required("SourceArn"), 1 if limit is None else limit)
        return {"Results": [moves.fields(task) for task in found]}

    def _cancel_move(self, fields: Fields, _: Caller) -> dict[str, Any]:
        return {"ApproximateNumberOfMessagesMoved": self.store.cancel_move(fields.required("TaskHandle"))}

    # -- messages -----------------------------------------------------------------------------------------------------

    def _send(self, fields: Fields, _: Caller) -> dict[str, Any]:
        message = _outgoing(fields)
        return _sent(self.store.send(fields.queue(), message), message)

    def _send_batch(self, fields: Fields, _: Caller) -> dict[str, Any]:
        entries = _entries(fields, "SendMessageBatchRequestEntry")
        messages = [_outgoing(entry) for _, entry in entries]
        results = self.store.send_batch(fields.queue(), messages)
        done, failed = [], []
        for (id_, _entry), message, result in zip(entries, messages, results, strict=True):
            if isinstance(result, ServiceError):
                failed.append(_failed(id_, result))
            else:
                done.append({"Id": id_, **_sent(result, message)})
        return {"Successful": done, "Failed": failed} if failed else {"Successful": done}

    def _receive(self, fields: Fields, caller: Caller) -> dict[str, Any]:
        system = {*fields.texts("AttributeNames"), *fields.texts("MessageSystemAttributeNames")}
        for name in system - _SYSTEM_ATTRIBUTES:
            raise unknown_attribute(name)
        wanted = fields.texts("MessageAttributeNames")
        count = fields.integer("MaxNumberOfMessages")
        messages = self.store.receive(
            fields.queue(),
            max_messages=1 if count is None else count,
            wait=fields.integer("WaitTimeSeconds"),
            visibility=fields.integer("VisibilityTimeout"),
            attempt_id=fields.text("ReceiveRequestAttemptId"),
            gone=caller.gone,
        )
        return {"Messages": [_received(message, system, wanted) for message in messages]} if messages else {}

    def _delete_message(self, fields: Fields, _: Caller) -> dict[str, Any]:
        _raise_first(self.store.delete_batch(fields.queue(), [fields.required("ReceiptHandle")]))
        return {}

    def _delete_message_batch(self, fields: Fields, _: Caller) -> dict[str, Any]:
        entries = _entries(fields, "DeleteMessageBatchRequestEntry")
        handles = [entry.required("ReceiptHandle") for _, entry in entries]
        return _outcome(entries, self.store.delete_batch(fields.queue(), handles))

    def _change_visibility(self, fields: Fields, _: Caller) -> dict[str, Any]:
        seconds = fields.integer("VisibilityTimeout")
        if seconds is None:
            raise missing_parameter("VisibilityTimeout")
        _raise_first(self.store.change_visibility_batch(fields.queue(), [(fields.required("ReceiptHandle"), seconds)]))
        return {}

    def _change_visibility_batch(self, fields: Fields, _: Caller) -> dict[str, Any]:
        entries = _entries(fields, "ChangeMessageVisibilityBatchRequestEntry")
        changes = [(entry.required("ReceiptHandle"), entry.integer("VisibilityTimeout") or 0) for _, entry in entries]
        return _outcome(entries, self.store.change_visibility_batch(fields.queue(), changes))


def _url(caller: Caller, name: str) -> str:
    return f"{caller.base_url}/{ACCOUNT}/{name}"


def _page(caller: Caller, key: str, names: Sequence[str], after: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {key: [_url(caller, name) for name in names]} if names or key == "queueUrls" else {}
    if after is not None:
        answer["NextToken"] = base64.urlsafe_b64encode(after.encode()).decode()
    return answer


def _entries(fields: Fields, entry: str) -> list[tuple[str, Fields]]:
    entries = [(item.required("Id"), item) for item in fields.objects("Entries")]
    validation.batch_ids([id_ for id_, _ in entries], entry)
    return entries


def _raise_first(results: Sequence[ServiceError | None]) -> None:
    if results[0] is not None:
        raise results[0]


def _outcome(entries: Sequence[tuple[str, Fields]], results: Sequence[ServiceError | None]) -> dict[str, Any]:
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for (id_, _), result in zip(entries, results, strict=True):
        if result is None:
            done.append({"Id": id_})
        else:
            failed.append(_failed(id_, result))
    return {"Successful": done, "Failed": failed} if failed else {"Successful": done}


def _failed(id_: str, error: ServiceError) -> dict[str, Any]:
    return {"Id": id_, "SenderFault": error.sender_fault, "Code": error.code, "Message": error.message}


def _outgoing(fields: Fields) -> OutgoingMessage:
    system = _attributes(fields, "MessageSystemAttributes")
    for name, attribute in system.items():
        if name != "AWSTraceHeader" or attribute.data_type != "String" or not attribute.string_value:
            raise bad_parameter(name[:100], "MessageSystemAttributes", "Only AWSTraceHeader, of type String, is supported.")
    trace = system.get("AWSTraceHeader")
    return OutgoingMessage(
        body=fields.text("MessageBody") or "",
        delay=fields.integer("DelaySeconds"),
        message_attributes=_attributes(fields, "MessageAttributes"),
        group_id=fields.text("MessageGroupId"),
        dedup_id=fields.text("MessageDeduplicationId"),
        trace_header=None if trace is None else trace.string_value,
    )


def _attributes(fields: Fields, key: str) -> dict[str, MessageAttribute]:
    found = {}
    for name, value in fields.objects_by_name(key).items():
        text = value.text("BinaryValue")
        try:
            binary = None if text is None else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise bad_field("BinaryValue", "base64") from None
        found[name] = MessageAttribute(value.text("DataType") or "", value.text("StringValue"), binary)
    return found


def _sent(sent: SentMessage, message: OutgoingMessage) -> dict[str, Any]:
    answer: dict[str, Any] = {"MessageId": sent.message_id, "MD5OfMessageBody": validation.md5_of_body(message.body)}
    digest = validation.md5_of_attributes(message.message_attributes)
    if digest is not None:
        answer["MD5OfMessageAttributes"] = digest
    if message.trace_header is not None:
        trace = {"AWSTraceHeader": MessageAttribute("String", message.trace_header)}
        answer["MD5OfMessageSystemAttributes"] = validation.md5_of_attributes(trace)
    if sent.sequence_number is not None:
        answer["SequenceNumber"] = sent.sequence_number
    return answer


def _received(message: ReceivedMessage, system: set[str], wanted: Sequence[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": validation.md5_of_body(message.body),
        "Body": message.body,
    }
    attributes = {key: value for key, value in message.attributes.items() if "All" in system or key in system}
    if attributes:
        answer["Attributes"] = attributes
    chosen = {name: value for name, value in message.message_attributes.items() if _is_wanted(name, wanted)}
    if chosen:
        answer["MD5OfMessageAttributes"] = validation.md5_of_attributes(chosen)
        answer["MessageAttributes"] = {name: _attribute(value) for name, value in chosen.items()}
    return answer


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return any(
        pattern in ("All", ".*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1])) for pattern in wanted
    )


def _attribute(attribute: MessageAttribute) -> dict[str, str]:
    if attribute.binary_value is not None:
        return {"DataType": attribute.data_type, "BinaryValue": base64.b64encode(attribute.binary_value).decode()}
    return {"DataType": attribute.data_type, "StringValue": attribute.string_value or ""}
