"""A receive and a delete cost the same however many messages wait: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

import pytest

from pyqs.local.store import Store
from pyqs.message import OutgoingMessage


class Steps:
    """How many steps of the database machine the last call took."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        store._db.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.count += 1
        return 0


def filled(backlog: int, groups: int) -> Store:
    store = Store()
    store.create_queue("q.fifo" if groups else "q", {"FifoQueue": "true"} if groups else {})
    for start in range(0, backlog, 10):
        batch = [
            OutgoingMessage("x", group_id=f"g{n % groups}", dedup_id=str(n)) if groups else OutgoingMessage("x")
            for n in range(start, start + 10)
        ]
        store.send_batch("q.fifo" if groups else "q", batch)
    return store


def cost(backlog: int, groups: int, in_flight: int) -> dict[str, int]:
    """Steps of each call at this backlog, of which so many are in flight."""
    store = filled(backlog + in_flight, groups)
    name = "q.fifo" if groups else "q"
    for _ in range(in_flight // 10):
        assert len(store.receive(name, max_messages=10, wait=0)) == 10
    steps = Steps(store)
    result: dict[str, int] = {}

    def measured(label: str, call):
        steps.count = 0
        answer = call()
        result[label] = steps.count
        return answer

    messages = measured("receive", lambda: store.receive(name, max_messages=10, wait=0))
    assert len(messages) == 10
    handles = [message.receipt_handle for message in messages]
    measured("hide", lambda: store.change_visibility_batch(name, [(handle, 60) for handle in handles]))
    measured("delete", lambda: store.delete_batch(name, handles))
    measured("send", lambda: store.send(name, OutgoingMessage("x", group_id="g0", dedup_id="new" if groups else None)))
    measured("attributes", lambda: store.queue_attributes(name))
    store.close()
    return result


@pytest.mark.parametrize(("groups", "in_flight"), [(0, 0), (0, 5000), (1, 0), (50, 0)])
def test_the_steps_do_not_grow_with_the_backlog(groups, in_flight):
    few, many = cost(100, groups, min(in_flight, 100)), cost(20_000, groups, in_flight)
    for call, steps in many.items():
        assert steps <= few[call] * 1.1 + 20, (call, few, many)


def test_an_empty_receive_beside_many_in_flight_costs_no_more_than_beside_none(store):
    for _ in range(500):
        store.send_batch("q", [OutgoingMessage("x")] * 10)
    steps = Steps(store)
    while store.receive("q", max_messages=10, wait=0):
        pass
    steps.count = 0
    assert store.receive("q", max_messages=10, wait=0) == []
    assert steps.count < 100
