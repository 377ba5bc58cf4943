"""SQS's rules about queues: names, attributes, listing, dead-letter queues. SQS API reference: CreateQueue and neighbours."""

from __future__ import annotations

import json

import pytest

from pyqs.errors import QueueNotFound, SqsError


def test_a_created_queue_is_found_by_its_name(backend) -> None:
    name = backend.fresh_name()
    url = backend.queue(name)
    assert url.rpartition("/")[2] == name
    assert backend.sqs.queue_url(name) == url


def test_a_queue_that_does_not_exist(backend) -> None:
    with pytest.raises(QueueNotFound):
        backend.sqs.queue_url(backend.fresh_name())


@pytest.mark.parametrize("action", ["receive", "delete", "change", "send", "send_batch", "attributes", "set", "drop", "purge"])
def test_every_call_on_a_queue_that_does_not_exist(backend, action) -> None:
    from pyqs.message import OutgoingMessage

    url = backend.queue() + "-gone"
    calls = {
        "receive": lambda: backend.sqs.receive(url, wait=0),
        "delete": lambda: backend.sqs.delete_batch(url, ["x"]),
        "change": lambda: backend.sqs.change_visibility_batch(url, [("x", 0)]),
        "send": lambda: backend.sqs.send(url, OutgoingMessage(body="x")),
        "send_batch": lambda: backend.sqs.send_batch(url, [OutgoingMessage(body="x")]),
        "attributes": lambda: backend.sqs.queue_attributes(url),
        "set": lambda: backend.sqs.set_queue_attributes(url, {"DelaySeconds": "1"}),
        "drop": lambda: backend.sqs.delete_queue(url),
        "purge": lambda: backend.sqs.purge_queue(url),
    }
    with pytest.raises(QueueNotFound) as caught:
        calls[action]()
    assert caught.value.retryable is False


def test_creating_it_again_with_the_same_attributes_or_none_answers_the_same(backend) -> None:
    name = backend.fresh_name()
    url = backend.queue(name, VisibilityTimeout="40")
    assert backend.sqs.create_queue(name, {"VisibilityTimeout": "40"}) == url
    assert backend.sqs.create_queue(name) == url


def test_creating_it_again_with_another_attribute_is_refused(backend) -> None:
    name = backend.fresh_name()
    backend.queue(name, VisibilityTimeout="40")
    with pytest.raises(SqsError) as caught:
        backend.sqs.create_queue(name, {"VisibilityTimeout": "41"})
    assert caught.value.code in {"QueueNameExists", "QueueAlreadyExists"}


@pytest.mark.parametrize("ending", [".dot", " space", "x" * 80, "ü", "/slash"])
def test_an_illegal_name(backend, ending) -> None:
    with pytest.raises(SqsError) as caught:
        backend.sqs.create_queue(backend.fresh_name(ending))
    assert not isinstance(caught.value, QueueNotFound)
    assert caught.value.retryable is False


def test_the_longest_legal_name(backend) -> None:
    name = backend.fresh_name("-")
    assert backend.queue(name + "x" * (80 - len(name)))


def test_fifo_needs_its_ending_and_its_attribute(backend) -> None:
    with pytest.raises(SqsError):
        backend.sqs.create_queue(backend.fresh_name(), {"FifoQueue": "true"})


def test_the_fifo_ending_needs_the_attribute(backend) -> None:
    with pytest.raises(SqsError):
        backend.sqs.create_queue(backend.fresh_name(".fifo"))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "-1"),
        ("DelaySeconds", "901"),
        ("MessageRetentionPeriod", "10"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("MaximumMessageSize", "1000"),
        ("VisibilityTimeout", "soon"),
    ],
)
def test_an_attribute_out_of_range(backend, attribute, value) -> None:
    with pytest.raises(SqsError):
        backend.queue(**{attribute: value})


def test_an_unknown_attribute(backend) -> None:
    with pytest.raises(SqsError):
        backend.queue(Colour="red")


def test_the_attributes_of_a_new_queue(backend) -> None:
    url = backend.queue()
    found = backend.sqs.queue_attributes(url)
    assert found["VisibilityTimeout"] == "30"
    assert found["DelaySeconds"] == "0"
    assert found["MessageRetentionPeriod"] == "345600"
    assert found["ReceiveMessageWaitTimeSeconds"] == "0"
    assert found["QueueArn"].endswith(":" + url.rpartition("/")[2])
    assert found["QueueArn"].startswith("arn:aws")
    assert int(found["CreatedTimestamp"]) > 0


def test_attributes_are_set_and_read_by_name(backend) -> None:
    url = backend.queue(VisibilityTimeout="77")
    backend.sqs.set_queue_attributes(url, {"DelaySeconds": "5", "ReceiveMessageWaitTimeSeconds": "3"})
    names = ("VisibilityTimeout", "DelaySeconds", "ReceiveMessageWaitTimeSeconds")
    assert backend.sqs.queue_attributes(url, names) == {
        "VisibilityTimeout": "77",
        "DelaySeconds": "5",
        "ReceiveMessageWaitTimeSeconds": "3",
    }


def test_an_unknown_attribute_name_is_refused_on_reading(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.sqs.queue_attributes(url, ("Colour",))


def test_listing_by_prefix(backend) -> None:
    base = backend.fresh_name()
    wanted = {backend.queue(f"{base}-a-{number}") for number in range(3)}
    backend.queue(f"{base}-b")
    if not backend.exact:
        backend.advance(60)
    assert set(backend.sqs.list_queues(f"{base}-a-")) == wanted
    assert list(backend.sqs.list_queues(f"{base}-zzz")) == []


def test_listing_goes_through_every_page(backend) -> None:
    if backend.name not in {"inprocess", "local"}:
        pytest.skip("more than a thousand queues are for ours only")
    base = backend.fresh_name()
    wanted = {backend.queue(f"{base}-{number}") for number in range(1203)}
    found = list(backend.sqs.list_queues(base))
    assert len(found) == 1203
    assert set(found) == wanted


def test_a_deleted_queue_is_gone(backend) -> None:
    name = backend.fresh_name()
    url = backend.queue(name)
    backend.sqs.delete_queue(url)
    if not backend.exact:
        backend.advance(60)
    with pytest.raises(QueueNotFound):
        backend.sqs.queue_url(name)


def test_a_deleted_name_rests_for_a_minute(backend) -> None:
    if not backend.exact:
        pytest.skip("takes more than a minute")
    name = backend.fresh_name()
    backend.sqs.delete_queue(backend.queue(name))
    with pytest.raises(SqsError) as caught:
        backend.queue(name)
    assert caught.value.code == "QueueDeletedRecently"
    assert caught.value.retryable is True
    if backend.jumps:
        backend.advance(61)
        assert backend.queue(name)


def test_a_queue_is_emptied(backend) -> None:
    url = backend.queue()
    backend.send(url, "1", "2")
    backend.sqs.purge_queue(url)
    if not backend.exact:
        backend.advance(60)
    assert backend.nothing(url)


def test_emptying_twice_in_a_minute_is_refused(backend) -> None:
    url = backend.queue()
    backend.sqs.purge_queue(url)
    with pytest.raises(SqsError) as caught:
        backend.sqs.purge_queue(url)
    assert caught.value.code == "PurgeQueueInProgress"
    assert caught.value.retryable is True


def test_tags_are_taken(backend) -> None:
    url = backend.sqs.create_queue(backend.fresh_name(), {"DelaySeconds": "0"}, {"team": "mail"})
    backend.urls.append(url)
    assert url


def redrive(backend, target_arn: str, count: int = 2) -> str:
    return json.dumps({"deadLetterTargetArn": target_arn, "maxReceiveCount": str(count)})


def test_a_dead_letter_queue_knows_its_sources(backend) -> None:
    dead = backend.queue()
    source = backend.queue(RedrivePolicy=redrive(backend, backend.arn(dead)))
    assert backend.sqs.dead_letter_sources(dead) == [source]
    assert backend.sqs.dead_letter_sources(source) == []


def test_a_dead_letter_queue_must_exist(backend) -> None:
    arn = backend.arn(backend.queue())
    with pytest.raises(SqsError):
        backend.queue(RedrivePolicy=redrive(backend, arn + "-gone"))


def test_a_redrive_policy_is_read_back_and_cleared(backend) -> None:
    arn = backend.arn(backend.queue())
    url = backend.queue(RedrivePolicy=redrive(backend, arn, 4))
    found = json.loads(backend.sqs.queue_attributes(url, ("RedrivePolicy",))["RedrivePolicy"])
    assert found["deadLetterTargetArn"] == arn
    assert int(found["maxReceiveCount"]) == 4
    backend.sqs.set_queue_attributes(url, {"RedrivePolicy": ""})
    assert "RedrivePolicy" not in backend.sqs.queue_attributes(url)


def test_counts(backend) -> None:
    if not backend.exact:
        pytest.skip("approximate, by definition")
    url = backend.queue()
    backend.send(url, "1", "2", "3")
    backend.send(url, "later", delay=900)
    backend.take(url, 1)
    found = backend.sqs.queue_attributes(url)
    assert found["ApproximateNumberOfMessages"] == "2"
    assert found["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert found["ApproximateNumberOfMessagesDelayed"] == "1"


def test_an_address_is_the_url(backend) -> None:
    url = backend.queue()
    assert backend.sqs.locate(url) == url
    assert backend.sqs.locate(backend.arn(url)) == url
    backend.send(backend.sqs.locate(backend.arn(url)), "through the address")
    assert backend.one(url).body == "through the address"
