"""What a user's type checker sees of the native API. Checked by mypy --strict, never run."""

from __future__ import annotations

from typing import Any

from pyqs import RawMessage, SoftTimeLimitExceeded, events, lambda_handler, raw_task, task

answer: dict[str, Any] = lambda_handler({"Records": []}, None)


@task
def bare(number: int) -> str:
    return str(number)


@task()
def called(number: int) -> str:
    return str(number)


@task(queue="email", delay_seconds=5)
def with_queue(address: str, *, subject: str = "") -> int:
    return len(address + subject)


def pause(receive_count: int) -> float:
    return 2.0 * receive_count


@task(queue="email", retry_backoff=pause, max_deliveries=5, time_limit=60, soft_time_limit=50.5)
def with_policies(number: int) -> bool:
    try:
        return number > 0
    except SoftTimeLimitExceeded:
        return False


@task(retry_backoff=(5, 600))
def with_pair(number: int) -> None: ...


@task(retry_backoff=30)
def with_seconds(number: int) -> None: ...


truth: bool = with_policies(1)
with_policies.delay(number=1)
with_pair.delay(1)
with_seconds.delay(1)
text: str = bare(1)
text = called(number=2)
length: int = with_queue("a@b.c", subject="hello")
bare.delay(1)
called.delay(number=2)
with_queue.delay("a@b.c", subject="hello", _delay_seconds=3)
with_queue.delay("a@b.c", _group_id="g", _dedup_id="d")


@task(queue="orders.fifo", group_id=lambda order: order, dedup_id="once")
def in_groups(order: int) -> None: ...


in_groups.delay(1)
ids: list[str] = in_groups.send_many([(1,), (2,), {"order": 3}])
in_groups.send_many(((n,) for n in range(3)), _delay_seconds=5)


@raw_task(queue="events", unwrap=("sns", "s3"))
def on_event(message: RawMessage) -> None:
    print(message.payload, message.attributes["ApproximateReceiveCount"])


@task(queue="email", soft_time_limit=5)
async def awaited(number: int) -> str:
    return str(number)


@raw_task(queue="events")
async def on_event_async(message: RawMessage) -> None:
    print(message.payload)


awaited.delay(1)


async def caller() -> None:
    said: str = await awaited(1)
    print(said)


def hook(context: dict[str, object]) -> None:
    print(context["message_id"])


events.register_event("pre_process", hook)
