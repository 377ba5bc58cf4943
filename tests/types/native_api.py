"""What a user's type checker sees of the native API. Checked by mypy --strict, never run."""

from __future__ import annotations

from pyqs import events, task


@task
def bare(number: int) -> str:
    return str(number)


@task()
def called(number: int) -> str:
    return str(number)


@task(queue="email", delay_seconds=5)
def with_queue(address: str, *, subject: str = "") -> int:
    return len(address + subject)


text: str = bare(1)
text = called(number=2)
length: int = with_queue("a@b.c", subject="hello")
bare.delay(1)
called.delay(number=2)
with_queue.delay("a@b.c", subject="hello", _delay_seconds=3)


def hook(context: dict[str, object]) -> None:
    print(context["message_id"])


events.register_event("pre_process", hook)
