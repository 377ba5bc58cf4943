"""Queues: names, attributes, paging, deletion, purge, tags."""

from __future__ import annotations

import json

import pytest

from pyqs.local.service_error import ServiceError
from pyqs.local.store import Store


def code_of(call, *args, **kwargs) -> str:
    with pytest.raises(ServiceError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.mark.parametrize("name", ["", "a.b", "a b", "é", "a" * 81, "x.fifo", "a/b", "a\n"])
def test_illegal_names_of_standard_queues(store, name):
    assert code_of(store.create_queue, name) == "InvalidParameterValue"


@pytest.mark.parametrize("name", ["q", "a" * 76 + ".fifo", ".fifo", "a.b.fifo"])
def test_illegal_names_of_fifo_queues(store, name):
    assert code_of(store.create_queue, name, {"FifoQueue": "true"}) == "InvalidParameterValue"


@pytest.mark.parametrize(("name", "attributes"), [("A_z-9" * 16, {}), ("a" * 75 + ".fifo", {"FifoQueue": "true"})])
def test_the_longest_legal_names(store, name, attributes):
    store.create_queue(name, attributes)
    assert store.has_queue(name)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Nonsense": "1"}, "InvalidAttributeName"),
        ({"QueueArn": "x"}, "InvalidAttributeName"),
        ({"FifoQueue": "false"}, "InvalidAttributeName"),
        ({"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "1.5"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": ""}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "٣"}, "InvalidAttributeValue"),
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "1209601"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1048577"}, "InvalidAttributeValue"),
        ({"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue"),
        ({"SqsManagedSseEnabled": "maybe"}, "InvalidAttributeValue"),
        ({"Policy": "not json"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": "not json"}, "InvalidParameterValue"),
        ({"RedrivePolicy": "{}"}, "InvalidParameterValue"),
        (
            {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:0:nope","maxReceiveCount":3}'},
            "InvalidParameterValue",
        ),
    ],
)
def test_attributes_are_refused_on_create_and_on_set(store, attributes, code):
    assert code_of(store.create_queue, "new", attributes) == code
    assert code_of(store.set_queue_attributes, "q", attributes) == code
    assert not store.has_queue("new")


@pytest.mark.parametrize("receives", ["0", "1001", "many", "1.5"])
def test_a_redrive_policy_needs_a_sensible_count(bench, receives):
    bench.store.create_queue("dead")
    with pytest.raises(ServiceError, match="maxReceiveCount"):
        bench.dead_letter("q", "dead", receives)


def test_a_dead_letter_queue_is_of_the_same_kind_and_not_the_queue_itself(bench):
    bench.fifo("f.fifo")
    with pytest.raises(ServiceError, match="same type"):
        bench.dead_letter("q", "f.fifo", 3)
    with pytest.raises(ServiceError, match="its own"):
        bench.dead_letter("q", "q", 3)


def test_a_redrive_allow_policy_is_obeyed(bench):
    bench.store.create_queue("dead", {"RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'})
    with pytest.raises(ServiceError, match="RedriveAllowPolicy"):
        bench.dead_letter("q", "dead", 3)
    arn = bench.store.queue_attributes("q")["QueueArn"]
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn]})
    bench.store.set_queue_attributes("dead", {"RedriveAllowPolicy": allow})
    bench.dead_letter("q", "dead", 3)
    assert bench.store.dead_letter_sources("dead") == ["q"]


def test_an_empty_redrive_policy_clears_it(bench):
    bench.store.create_queue("dead")
    bench.dead_letter("q", "dead", 3)
    policy = json.loads(bench.store.queue_attributes("q")["RedrivePolicy"])
    assert policy == {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}
    bench.store.set_queue_attributes("q", {"RedrivePolicy": ""})
    assert "RedrivePolicy" not in bench.store.queue_attributes("q")
    assert bench.store.dead_letter_sources("dead") == []


def test_create_again_is_the_same_queue_unless_an_attribute_differs(store):
    store.create_queue("a", {"VisibilityTimeout": "60"})
    store.create_queue("a", {"VisibilityTimeout": "60"})
    store.create_queue("a")
    assert code_of(store.create_queue, "a", {"VisibilityTimeout": "61"}) == "QueueAlreadyExists"
    assert store.queue_attributes("a")["VisibilityTimeout"] == "60"


def test_a_deleted_name_is_refused_for_a_minute(store, clock):
    store.delete_queue("q")
    assert not store.has_queue("q")
    assert code_of(store.create_queue, "q") == "AWS.SimpleQueueService.QueueDeletedRecently"
    clock.advance(59)
    assert code_of(store.create_queue, "q") == "AWS.SimpleQueueService.QueueDeletedRecently"
    clock.advance(1)
    store.create_queue("q")


def test_a_queue_deleted_and_made_again_is_empty(bench, clock):
    bench.send()
    bench.receive()
    bench.send()
    bench.store.delete_queue("q")
    clock.advance(61)
    bench.store.create_queue("q")
    assert bench.counts() == (0, 0, 0)
    assert bench.receive() == []


def test_purge_empties_and_is_refused_again_for_a_minute(bench, clock):
    bench.send()
    bench.send(delay=10)
    bench.send()
    bench.receive(count=1)
    bench.store.purge_queue("q")
    assert bench.counts() == (0, 0, 0)
    assert code_of(bench.store.purge_queue, "q") == "AWS.SimpleQueueService.PurgeQueueInProgress"
    clock.advance(60)
    bench.send()
    bench.store.purge_queue("q")
    assert bench.receive() == []


def test_listing_pages_through_names_with_a_prefix():
    store = Store()
    for number in range(25):
        store.create_queue(f"email-{number:02}")
        store.create_queue(f"other-{number:02}")
    found, after = [], ""
    pages = 0
    while after is not None:
        page, after = store.list_queues("email-", 10, after)
        found += page
        pages += 1
    assert found == [f"email-{number:02}" for number in range(25)]
    assert pages == 3
    assert store.list_queues("nothing") == ([], None)
    store.close()


def test_without_a_limit_a_listing_ends_at_a_thousand():
    store = Store()
    for number in range(1001):
        store.create_queue(f"q{number:04}")
    names, after = store.list_queues()
    assert (len(names), after) == (1000, None)
    names, after = store.list_queues("", 1000)
    assert (len(names), after) == (1000, "q0999")
    store.close()


def test_attributes_asked_for_by_name(bench, clock):
    clock.advance(10)
    bench.store.set_queue_attributes("q", {"DelaySeconds": "3"})
    assert bench.store.queue_attributes("q", ["DelaySeconds", "CreatedTimestamp", "LastModifiedTimestamp", "Policy"]) == {
        "DelaySeconds": "3",
        "CreatedTimestamp": "1800000000",
        "LastModifiedTimestamp": "1800000010",
    }
    assert bench.store.queue_attributes("q", []) == {}
    assert code_of(bench.store.queue_attributes, "q", ["Nonsense"]) == "InvalidAttributeName"


def test_default_attributes_of_both_kinds(bench):
    found = bench.store.queue_attributes("q")
    assert {found[name] for name in ("VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize")} == {
        "30",
        "345600",
        "1048576",
    }
    assert "FifoQueue" not in found
    bench.store.create_queue("f.fifo", {"FifoQueue": "true"}, region="eu-west-1")
    found = bench.store.queue_attributes("f.fifo")
    assert (found["FifoQueue"], found["ContentBasedDeduplication"], found["DeduplicationScope"]) == ("true", "false", "queue")
    assert found["QueueArn"] == "arn:aws:sqs:eu-west-1:000000000000:f.fifo"


def test_tags(store):
    store.create_queue("a", tags={"team": "mail"})
    store.tag_queue("a", {"env": "dev", "team": "post"})
    assert store.queue_tags("a") == {"team": "post", "env": "dev"}
    store.untag_queue("a", ["team", "nothing"])
    assert store.queue_tags("a") == {"env": "dev"}
    assert code_of(store.tag_queue, "a", {str(number): "" for number in range(50)}) == "InvalidParameterValue"
    assert code_of(store.tag_queue, "a", {"": "x"}) == "InvalidParameterValue"
