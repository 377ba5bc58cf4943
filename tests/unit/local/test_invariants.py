"""Random calls at random times: the counts kept in memory, the group table and the order of FIFO groups always hold."""

from __future__ import annotations

import json
import random
from collections import defaultdict

import pytest

from pyqs.local import fifo
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage


def counted(store: Store, queue) -> list[int]:
    found = [0, 0, 0]
    for state, count in store._db.execute("SELECT state, count(*) FROM message WHERE queue = ? GROUP BY state", (queue.id,)):
        found[state] = count
    return found


def groups(store: Store, queue) -> list[tuple]:
    return [tuple(row) for row in store._db.execute("SELECT * FROM fifo_group WHERE queue = ? ORDER BY group_id", (queue.id,))]


@pytest.mark.parametrize("kind", ["standard", "fifo"])
@pytest.mark.parametrize("seed", range(8))
def test_random_calls(kind, seed, clock):
    dice = random.Random(seed)
    store = Store(clock=clock, inflight_limit=40)
    is_fifo = kind == "fifo"
    name, dead = ("q.fifo", "d.fifo") if is_fifo else ("q", "d")
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if is_fifo else {}
    store.create_queue(dead, attributes)
    policy = json.dumps({"deadLetterTargetArn": store.queue_attributes(dead)["QueueArn"], "maxReceiveCount": 2})
    store.create_queue(name, {**attributes, "RedrivePolicy": policy, "MessageRetentionPeriod": "600"})
    held: dict[str, str] = {}
    bodies: dict[str, int] = {}
    number = 0
    for _ in range(600):
        clock.advance(dice.choice([0, 0, 0.5, 5, 40]))
        act = dice.choice(["send", "send", "receive", "receive", "delete", "hide", "batch"])
        if act in ("send", "batch"):
            messages = []
            for _ in range(1 if act == "send" else dice.randint(2, 10)):
                number += 1
                group = dice.choice("abc") if is_fifo else None
                delay = None if is_fifo else dice.choice([None, 0, 3])
                messages.append(OutgoingMessage(str(number), group_id=group, delay=delay))
            for message, sent in zip(messages, store.send_batch(name, messages), strict=True):
                bodies[sent.message_id] = int(message.body)
        elif act == "receive":
            if store.queue_attributes(name)["ApproximateNumberOfMessagesNotVisible"] == "40":
                continue
            got = store.receive(name, max_messages=dice.randint(1, 10), wait=0, visibility=dice.choice([None, 0, 10, 100]))
            in_order: dict[str, list[int]] = defaultdict(list)
            for message in got:
                held[message.message_id] = message.receipt_handle
                in_order[message.attributes.get("MessageGroupId", "")].append(bodies[message.message_id])
            if is_fifo:
                assert all(numbers == sorted(numbers) for numbers in in_order.values())
        elif held:
            chosen = dice.sample(sorted(held), min(len(held), dice.randint(1, 5)))
            if act == "delete":
                store.delete_batch(name, [held.pop(key) for key in chosen])
            else:
                store.change_visibility_batch(name, [(held[key], dice.choice([0, 5, 300])) for key in chosen])
        for queue in store._catalog.all():
            assert queue.counts == counted(store, queue)
            if is_fifo:
                kept = groups(store, queue)
                known = {row[1] for row in kept} | set("abc")
                fifo.refresh(store._db, queue, known)
                assert groups(store, queue) == kept
    assert store.queue_attributes(dead)["ApproximateNumberOfMessages"] != "0"
    store.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_fifo_group_is_finished_in_order_whatever_happens(seed, clock):
    """Consumers that fail, stall and finish at random: what is deleted, is deleted in the order of sending."""
    dice = random.Random(seed)
    store = Store(clock=clock)
    store.create_queue("q.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    for number in range(60):
        store.send("q.fifo", OutgoingMessage(f"{number:03}", group_id=f"g{number % 3}"))
    done: dict[str, list[str]] = defaultdict(list)
    for _ in range(2000):
        got = store.receive("q.fifo", max_messages=dice.randint(1, 10), wait=0)
        failed: set[str] = set()
        for message in got:
            group = message.attributes["MessageGroupId"]
            if group in failed or dice.random() < 0.3:
                failed.add(group)  # a failure stops the rest of its group's batch
                continue
            assert store.delete_batch("q.fifo", [message.receipt_handle]) == [None]
            done[group].append(message.body)
        clock.advance(dice.choice([0, 10, 31]))
        if sum(map(len, done.values())) == 60:
            break
    for index in range(3):
        assert done[f"g{index}"] == [f"{number:03}" for number in range(60) if number % 3 == index]
    store.close()
