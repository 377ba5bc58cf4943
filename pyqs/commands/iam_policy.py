"""``pyqs iam-policy``: what a worker, a producer and an operator of some queues must be allowed to do, as IAM policies.

Owns: the output: policies with what each action is for, or pure JSON for programs. Runs in the main thread. Makes no call to
AWS, so that it can be run by somebody who may do nothing there yet.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from pyqs import cli
from pyqs.commands import options
from pyqs.commands.named import named
from pyqs.errors import ConfigError
from pyqs.queues.patterns import compile_patterns
from pyqs.queues.permissions import (
    ACCOUNT,
    REGION,
    Grant,
    bucket_grants,
    document,
    operator_grants,
    places,
    producer_grants,
    worker_grants,
)


@click.command("iam-policy", short_help="Print the IAM policies that these queues need.")
@options.queue_options
@options.app_options
@click.option("--worker", "only", flag_value="worker", help="Only the worker's policy.")
@click.option("--producer", "only", flag_value="producer", help="Only the policy of a program that sends tasks.")
@click.option(
    "--operator",
    "only",
    flag_value="operator",
    help="Only the policy of whoever runs pyqs queues, peek, send, purge and, on the --dead-letter queues, pyqs dlq.",
)
@click.option(
    "--sends/--no-sends",
    default=None,
    help="Whether the worker sends messages on: Celery's retries, ETAs, links and chains [default: with an app yes].",
)
@click.option(
    "--sends-to",
    "sends_to",
    multiple=True,
    metavar="QUEUE",
    help="A queue that links and chains of its tasks go to and the worker does not consume; implies --sends. Repeatable.",
)
@click.option(
    "--dead-letter",
    "dead_letter",
    multiple=True,
    metavar="QUEUE",
    help="A dead-letter queue that the worker moves messages to (--on-unknown dlq, max_deliveries). Repeatable.",
)
@click.option("--required", is_flag=True, help="Leave out what pyqs has a fallback for.")
@click.option("--account", metavar="ID", help="The AWS account of queues that are given by name.")
@click.option("--json", "as_json", is_flag=True, help="JSON only: {worker: ..., producer: ...}, or the one policy asked for.")
@options.connection_options
@options.log_level_option(default="WARNING")
def command(queues: tuple[str, ...], exclude: tuple[str, ...], app: str | None, **values: Any) -> int:
    """Print the smallest IAM policies for a worker and a producer of these queues, and what each action is for.

    \b
    pyqs iam-policy -Q https://sqs.eu-west-1.amazonaws.com/123456789012/email
    pyqs iam-policy -Q 'email.*' --region eu-west-1 --account 123456789012 --worker --json

    Nothing is asked of AWS: what a URL, an ARN, --region and --account do not say stays REGION and ACCOUNT.
    """
    asked = named(queues, app, values)
    connection, settings = asked.connection, asked.settings
    region, account = connection.region or "", values["account"] or ""
    consumed = places(
        asked.patterns,
        region=region,
        account=account,
        prefix=settings.queue_prefix,
        predefined=dict(settings.predefined_queues) or None,
    )
    if not consumed:
        raise ConfigError("none of the app's predefined_queues matches")
    buried = places(compile_patterns(values["dead_letter"]), region=region, account=account) if values["dead_letter"] else ()
    targets = places(compile_patterns(values["sends_to"]), region=region, account=account) if values["sends_to"] else ()
    sends = bool(app or targets) if values["sends"] is None else values["sends"]
    of_worker, of_producer = bucket_grants(consumed, connection.large_payload_buckets, sends=sends)
    grants = {
        "worker": (*worker_grants(consumed, sends=sends, targets=targets, dead_letters=buried), *of_worker),
        "producer": (*producer_grants(consumed), *of_producer),
    }
    if values["only"] == "operator":
        grants["operator"] = operator_grants(consumed, dead_letters=buried)
    if values["required"]:
        grants["worker"] = tuple(grant for grant in grants["worker"] if not grant.without)
    if values["only"]:
        grants = {values["only"]: grants[values["only"]]}
    _print(grants, as_json=values["as_json"], unwrap=bool(values["only"]))
    text = " ".join(resource for chosen in grants.values() for grant in chosen for resource in grant.resources)
    for line in notes(text, connection.role_arn, worker="worker" in grants and not sends):
        print(f"pyqs: {line}", file=sys.stderr)
    return cli.EXIT_OK


def notes(arns: str, role_arn: str | None, *, worker: bool) -> list[str]:
    """What the policies cannot say themselves."""
    lines = []
    missing = [word for word in (REGION, ACCOUNT) if f":{word}:" in arns]
    if missing:
        lines.append(f"put in {' and '.join(missing)}, or give --region and --account, or the queue's URL or ARN")
    if worker:
        lines.append("a worker whose tasks retry, are due later or lead to others also needs sqs:SendMessage: --sends")
    if role_arn:
        lines.append(f"whoever takes the role {role_arn} needs sts:AssumeRole on it; the policies above belong to the role")
    lines.append(
        "queues and buckets encrypted with a KMS key of your own need kms:Decrypt on it, and kms:GenerateDataKey for sending"
    )
    return lines


def _print(grants: dict[str, tuple[Grant, ...]], *, as_json: bool, unwrap: bool) -> None:
    if as_json:
        documents = {who: document(chosen) for who, chosen in grants.items()}
        print(json.dumps(next(iter(documents.values())) if unwrap else documents, indent=2))
        return
    for who, chosen in grants.items():
        print(f"{who}:\n")
        for grant in chosen:
            for action, purpose in grant.actions.items():
                print(f"  {action:32}{purpose}" + (f"\n{'':34}optional; without it: {grant.without}" if grant.without else ""))
        print(f"\n{json.dumps(document(chosen), indent=2)}\n")
    sys.stdout.flush()
