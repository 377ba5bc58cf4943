"""What a message may hold, and the digests that SDKs check."""

from __future__ import annotations

import pytest

from pyqs.local import validation
from pyqs.local.service_error import ServiceError
from pyqs.message import MessageAttribute, OutgoingMessage

MIB = 1024 * 1024


def check(message: OutgoingMessage, *, max_bytes: int = MIB) -> str:
    try:
        validation.message(message, fifo=False, content_dedup=False, max_bytes=max_bytes)
    except ServiceError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_characters_that_xml_does_not_know_are_refused(character):
    assert check(OutgoingMessage("a" + character)) == "InvalidMessageContents"
    attributes = {"x": MessageAttribute("String", "a" + character)}
    assert check(OutgoingMessage("a", message_attributes=attributes)) == "InvalidMessageContents"


@pytest.mark.parametrize("character", ["\t", "\n", "\r", " ", "\x7f", "\x85", "\ud7ff", "\ue000", "\ufffd", "😀", "\U0010ffff"])
def test_characters_that_are_taken(character):
    assert check(OutgoingMessage(character)) == "ok"


def test_the_limit_counts_bytes_of_body_and_attributes():
    assert check(OutgoingMessage("x" * MIB)) == "ok"
    assert check(OutgoingMessage("x" * (MIB + 1))) == "InvalidParameterValue"
    assert check(OutgoingMessage("é" * (MIB // 2) + "x")) == "InvalidParameterValue"
    attributes = {"name": MessageAttribute("String", "value"), "b": MessageAttribute("Binary", None, b"12")}
    extra = len("name" + "String" + "value" + "b" + "Binary") + 2
    assert check(OutgoingMessage("x" * (MIB - extra), message_attributes=attributes)) == "ok"
    assert check(OutgoingMessage("x" * (MIB - extra + 1), message_attributes=attributes)) == "InvalidParameterValue"
    assert check(OutgoingMessage("x" * 1025), max_bytes=1024) == "InvalidParameterValue"


def test_the_trace_header_does_not_count():
    assert check(OutgoingMessage("x" * MIB, trace_header="Root=1")) == "ok"


def test_an_empty_body_is_refused():
    assert check(OutgoingMessage("")) == "MissingParameter"


@pytest.mark.parametrize(
    "attribute",
    [
        MessageAttribute("String", ""),
        MessageAttribute("String"),
        MessageAttribute("String", None, b"x"),
        MessageAttribute("Binary", None, b""),
        MessageAttribute("Binary", "x"),
        MessageAttribute("Number", "twelve"),
        MessageAttribute("Number", "1.2.3"),
        MessageAttribute("", "x"),
        MessageAttribute("Text", "x"),
        MessageAttribute("Stringy", "x"),
        MessageAttribute("String.", "x"),
        MessageAttribute("String." + "x" * 256, "x"),
    ],
)
def test_attributes_with_a_wrong_type_or_value(attribute):
    assert check(OutgoingMessage("x", message_attributes={"a": attribute})) == "InvalidParameterValue"


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "a b", "é", "AWS.x", "amazon.x", "a" * 257])
def test_attributes_with_a_wrong_name(name):
    message = OutgoingMessage("x", message_attributes={name: MessageAttribute("String", "x")})
    assert check(message) == "InvalidParameterValue"


def test_ten_attributes_and_no_more():
    many = {f"a{n}": MessageAttribute("String", "x") for n in range(11)}
    assert check(OutgoingMessage("x", message_attributes=many)) == "InvalidParameterValue"
    del many["a10"]
    assert check(OutgoingMessage("x", message_attributes=many)) == "ok"


@pytest.mark.parametrize("delay", [-1, 901])
def test_delays_out_of_range(delay):
    assert check(OutgoingMessage("x", delay=delay)) == "InvalidParameterValue"


@pytest.mark.parametrize("group", ["", "a b", "é", "x" * 129])
def test_illegal_group_ids(group):
    assert check(OutgoingMessage("x", group_id=group)) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "a"], "BatchEntryIdsNotDistinct"),
        (["a b"], "InvalidBatchEntryId"),
        (["x" * 81], "InvalidBatchEntryId"),
    ],
)
def test_batches_refused_as_a_whole(ids, code):
    with pytest.raises(ServiceError) as caught:
        validation.batch_ids(ids, "SendMessageBatchRequestEntry")
    assert caught.value.code == f"AWS.SimpleQueueService.{code}"


def test_a_batch_is_at_most_one_mebibyte_together():
    validation.batch_size([OutgoingMessage("x" * (MIB // 2))] * 2)
    with pytest.raises(ServiceError) as caught:
        validation.batch_size([OutgoingMessage("x" * (MIB // 2))] * 2 + [OutgoingMessage("x")])
    assert caught.value.code == "AWS.SimpleQueueService.BatchRequestTooLong"


def test_the_digest_of_attributes_is_the_documented_one():
    # Worked by hand from the developer guide: length and bytes of name and type, one byte for the transport, the value.
    import hashlib

    encoded = (
        b"\x00\x00\x00\x01a" + b"\x00\x00\x00\x06Binary" + b"\x02" + b"\x00\x00\x00\x02\x00\xff"
        b"\x00\x00\x00\x01b" + b"\x00\x00\x00\x06String" + b"\x01" + b"\x00\x00\x00\x02\xc3\xa9"
    )
    attributes = {"b": MessageAttribute("String", "é"), "a": MessageAttribute("Binary", None, b"\x00\xff")}
    assert validation.md5_of_attributes(attributes) == hashlib.md5(encoded).hexdigest()
    assert validation.md5_of_attributes({}) is None
