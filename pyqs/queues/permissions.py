"""What a worker, a producer or an operator must be allowed to do, as an IAM policy: which action, on which queues, what for.

Owns: the list of actions that pyqs calls, and the ARNs that patterns stand for. Pure; runs in ``pyqs iam-policy``. Never
asks AWS anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pyqs.queues.names import CANONICAL, FIFO, QueueAddress, canonical_name, parse_url
from pyqs.queues.patterns import Pattern

#: What stands in an ARN where nothing says more.
REGION, ACCOUNT = "REGION", "ACCOUNT"
#: SQS's IAM reference: these name no queue, so that they take no resource but "*".
_RESOURCELESS = ("*",)


@dataclass(frozen=True, slots=True)
class Place:
    """The queues of one pattern. ``found_by``: an address needs no look-up, a name one call, a glob a listing."""

    arn: str
    found_by: Literal["address", "name", "glob"]


@dataclass(frozen=True, slots=True)
class Grant:
    """One statement of a policy.

    Parameters:
        sid: its name in the policy: letters and digits.
        actions: action -> what it is for.
        resources: ARNs.
        without: what happens where it is refused; "" for what nothing works without.
    """

    sid: str
    actions: Mapping[str, str]
    resources: tuple[str, ...]
    without: str = ""


def places(
    patterns: Sequence[Pattern],
    *,
    region: str = "",
    account: str = "",
    prefix: str = "",
    predefined: Mapping[str, str] | None = None,
) -> tuple[Place, ...]:
    """The queues that the patterns mean, as ARNs, with wildcards for a glob.

    Parameters:
        region, account: for names and globs; "" takes them from an address among the patterns, if all of those agree.
        prefix: an app's ``queue_name_prefix``.
        predefined: an app's name -> URL; names and globs mean these and nothing else.
    """
    addresses = [pattern.address() for pattern in patterns if pattern.is_address]
    region = region or _only(one.region for one in addresses) or REGION
    account = account or _only(one.account for one in addresses) or ACCOUNT
    found: dict[str, Place] = {}

    def add(address: QueueAddress, found_by: Literal["address", "name", "glob"]) -> None:
        arn = _arn(address, region)
        found.setdefault(arn, Place(arn, found_by))

    for pattern in patterns:
        if pattern.is_address:
            add(pattern.address(), "address")
        elif predefined is not None:
            for name, url in predefined.items():
                if pattern.matches(canonical_name(name)) or pattern.matches(name):
                    add(parse_url(url), "address")
        elif pattern.is_glob:
            for names in _wildcards(pattern.text, prefix):
                add(QueueAddress(names, account, region), "glob")
        else:
            add(QueueAddress(pattern.name(prefix), account, region), "name")
    return tuple(found.values())


def worker_grants(
    queues: Sequence[Place], *, sends: bool, targets: Sequence[Place] = (), dead_letters: Sequence[Place] = ()
) -> tuple[Grant, ...]:
    """What a worker of these queues needs.

    Parameters:
        sends: messages are sent again or sent on: Celery's retries, ETAs, links and chains.
        targets: queues beside its own that those go to. A task names them, so that each is looked up once.
        dead_letters: queues that messages are moved to (``--on-... dlq``, ``max_deliveries``).
    """
    every = _arns(queues)
    grants = [
        Grant(
            "PyqsWorkerConsume",
            {
                "sqs:ReceiveMessage": "get messages",
                "sqs:DeleteMessage": "delete what is done",
                "sqs:ChangeMessageVisibility": "keep a message while its task runs, hide what failed, give back the rest",
            },
            every,
        ),
        *_look_ups("PyqsWorker", queues),
    ]
    globs = _arns(one for one in queues if one.found_by == "glob")
    if globs:
        grants.append(
            Grant(
                "PyqsWorkerOptionalDeadLetterSources",
                {"sqs:ListDeadLetterSourceQueues": "see which queues are dead-letter queues, which a wildcard leaves alone"},
                globs,
                "the queues' attributes are read instead; without those, only names like x-dlq are left alone",
            )
        )
    grants.append(
        Grant(
            "PyqsWorkerOptionalFacts",
            {
                "sqs:GetQueueAttributes": "know a queue's dead-letter queue, when a message is on its last receive, and "
                "whether the queue is at its in-flight limit"
            },
            every,
            "nothing is moved to a dead-letter queue by us, and what a stopping worker gives back may be moved there by SQS",
        )
    )
    if sends:
        grants += _send_on(every, _arns(targets))
    if dead_letters:
        grants.append(
            Grant(
                "PyqsWorkerDeadLetter",
                {"sqs:SendMessage": "move what cannot be run to the dead-letter queue"},
                _arns(dead_letters),
                "it stays on its queue, hidden for longer each time",
            )
        )
    return tuple(grants)


def _send_on(own: tuple[str, ...], targets: tuple[str, ...]) -> list[Grant]:
    grants = [
        Grant(
            "PyqsWorkerSendOn",
            {"sqs:SendMessage": "retries, messages due later, links and chains (to queues that are not its own: --sends-to)"},
            tuple(dict.fromkeys((*own, *targets))),
            "messages due later are hidden instead; a task that brings a message about is run again until it may be sent",
        )
    ]
    others = tuple(arn for arn in targets if arn not in own)
    if others:
        grants.append(
            Grant(
                "PyqsWorkerSendOnLookUp",
                {"sqs:GetQueueUrl": "find the queues by name that links and chains go to; the worker's own need no look-up"},
                others,
                "a task that brings a message for them about is run again until it may be sent",
            )
        )
    return grants


def producer_grants(queues: Sequence[Place]) -> tuple[Grant, ...]:
    """What a program needs that sends tasks to these queues."""
    send = Grant("PyqsProducerSend", {"sqs:SendMessage": "send tasks, one by one and in batches"}, _arns(queues))
    # A producer names its queues: what a glob means here is a family of names.
    named = [Place(one.arn, "name") if one.found_by == "glob" else one for one in queues]
    return (send, *_look_ups("PyqsProducer", named))


def operator_grants(queues: Sequence[Place], *, dead_letters: Sequence[Place] = ()) -> tuple[Grant, ...]:
    """What whoever looks after these queues needs, for each of the commands.

    Parameters:
        dead_letters: their dead-letter queues, which ``pyqs dlq`` is about.
    """
    every, dead = _arns(queues), _arns(dead_letters)
    both = tuple(dict.fromkeys((*every, *dead)))
    known = {
        "sqs:GetQueueAttributes": "queues: what a queue holds, how it is set up; peek, dlq: what a receive costs",
        "sqs:ListDeadLetterSourceQueues": "queues, purge: which queues are dead-letter queues; dlq: where messages came from",
    }
    looked_into = {
        "sqs:ReceiveMessage": "peek, dlq: look at messages",
        "sqs:ChangeMessageVisibility": "peek, dlq: make them visible again at once",
    }
    grants = [
        Grant("PyqsOperatorKnow", known, both),
        *_look_ups("PyqsOperator", (*queues, *dead_letters)),
        Grant("PyqsOperatorLook", looked_into, both, "peek and dlq do not work"),
        Grant("PyqsOperatorSend", {"sqs:SendMessage": "send; dlq: messages go back"}, every, "they do not work"),
        Grant("PyqsOperatorPurge", {"sqs:PurgeQueue": "purge: delete all messages"}, every, "purge does not work"),
    ]
    if dead:
        moved = {
            "sqs:DeleteMessage": "dlq retry and redrive: delete what was sent back",
            "sqs:StartMessageMoveTask": "dlq redrive: have SQS move messages",
            "sqs:ListMessageMoveTasks": "dlq redrive: see how far it is",
            "sqs:CancelMessageMoveTask": "dlq redrive --cancel",
        }
        grants.append(Grant("PyqsOperatorDeadLetters", moved, dead, "dlq retry and redrive do not work"))
    return tuple(grants)


def bucket_grants(queues: Sequence[Place], buckets: Sequence[str], *, sends: bool) -> tuple[list[Grant], list[Grant]]:
    """What a worker and a producer of these queues need beside that, where large bodies lie in S3.

    Parameters:
        buckets: the first is written to, all are read.
        sends: the worker's tasks retry or lead to others, whose bodies may be large, too.
    """
    if not buckets:
        return [], []
    partition = (_only(one.arn.split(":")[1] for one in queues)) or "aws"
    objects = tuple(f"arn:{partition}:s3:::{bucket}/*" for bucket in buckets)
    put = {"s3:PutObject": "put bodies away that are too large for SQS"}
    worker = [
        Grant("PyqsWorkerBodies", {"s3:GetObject": "get bodies that lie in S3"}, objects),
        Grant(
            "PyqsWorkerOptionalBodies",
            {"s3:DeleteObject": "delete them after their messages"},
            objects,
            "they stay until the bucket's lifecycle rule removes them",
        ),
    ]
    if sends:
        worker.append(Grant("PyqsWorkerPutBodies", put, objects[:1]))
    return worker, [Grant("PyqsProducerPutBodies", put, objects[:1])]


def document(grants: Iterable[Grant]) -> dict[str, Any]:
    """The policy as AWS takes it."""
    statements = [
        {"Sid": grant.sid, "Effect": "Allow", "Action": sorted(grant.actions), "Resource": sorted(grant.resources)}
        for grant in grants
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _look_ups(who: str, queues: Sequence[Place]) -> list[Grant]:
    grants = []
    names = _arns(one for one in queues if one.found_by == "name")
    if names:
        grants.append(
            Grant(f"{who}LookUp", {"sqs:GetQueueUrl": "find a queue by its name; a URL or ARN needs no look-up"}, names)
        )
    if any(one.found_by == "glob" for one in queues):
        grants.append(Grant(f"{who}List", {"sqs:ListQueues": "find the queues that a wildcard matches"}, _RESOURCELESS))
    return grants


def _arns(queues: Iterable[Place]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.arn for one in queues))


def _only(values: Iterable[str]) -> str:
    """The one value that all have, or ""."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def _arn(address: QueueAddress, region: str) -> str:
    region = address.region or region
    partition = address.partition
    if partition == "aws":  # a URL does not name it
        partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")
    return f"arn:{partition}:sqs:{region}:{address.account}:{address.name}"


def _wildcards(glob: str, prefix: str) -> list[str]:
    """The names that a glob can match, with IAM's wildcards, which are ``*`` and ``?`` only; all within the prefix."""
    ending = FIFO if glob.endswith(FIFO) else ""
    text, bound = glob[: len(glob) - len(ending)], canonical_name(prefix)
    mapped, position = "", 0
    while position < len(text):
        if text[position] == "[":  # a class is one character; a ']' that comes first in it is a member
            first = position + (2 if text[position + 1 : position + 2] == "!" else 1)
            position = text.index("]", first + 1)
            mapped += "?"
        else:
            mapped += text[position] if text[position] in "*?" else text[position].translate(CANONICAL)
        position += 1
    head = mapped.partition("*")[0].partition("?")[0]
    if not bound:
        return [mapped + ending]
    if mapped.startswith(bound):  # a name is matched as a whole and by what follows its prefix
        return [mapped + ending, bound + mapped + ending]
    return [bound + ("*" if bound.startswith(head) else mapped) + ending]
