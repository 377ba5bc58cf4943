"""From ``-Q`` to the ARNs and actions of an IAM policy, and how the command prints them."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from pyqs import cli
from pyqs.queues.patterns import compile_patterns
from pyqs.queues.permissions import document, operator_grants, places, producer_grants, worker_grants

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/email"


def arns(*texts: str, **options: Any) -> list[str]:
    return [place.arn for place in places(compile_patterns(texts), **options)]


@pytest.mark.parametrize(
    ("text", "arn"),
    [
        (URL, "arn:aws:sqs:eu-west-1:123456789012:email"),
        ("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:a.fifo", "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:a.fifo"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "arn:aws-cn:sqs:cn-north-1:1:q"),
        ("http://127.0.0.1:9324/000000000000/q", "arn:aws:sqs:REGION:000000000000:q"),
        ("email", "arn:aws:sqs:REGION:ACCOUNT:email"),
        ("email.send", "arn:aws:sqs:REGION:ACCOUNT:email-send"),
        ("email.*", "arn:aws:sqs:REGION:ACCOUNT:email-*"),
        ("*.fifo", "arn:aws:sqs:REGION:ACCOUNT:*.fifo"),
        ("q[0-9][!x]?", "arn:aws:sqs:REGION:ACCOUNT:q???"),
        ("[]a]b*", "arn:aws:sqs:REGION:ACCOUNT:?b*"),
    ],
)
def test_one_pattern_is_one_arn(text: str, arn: str) -> None:
    assert arns(text) == [arn]


def test_names_take_region_and_account_from_options_or_from_the_addresses_beside_them() -> None:
    assert arns("q", region="us-gov-east-1", account="1") == ["arn:aws-us-gov:sqs:us-gov-east-1:1:q"]
    assert arns(URL, "other")[1] == "arn:aws:sqs:eu-west-1:123456789012:other"
    assert arns(URL, URL.replace("eu-west-1", "eu-west-2"), "other")[2] == "arn:aws:sqs:REGION:123456789012:other"


@pytest.mark.parametrize("glob", ["*", "email.*", "p*", "prod-*", "prod-email?", "[a-z]*", "prod*x", "*-mail"])
def test_an_apps_prefix_bounds_a_glob_and_nothing_it_matches_is_forgotten(glob: str) -> None:
    resources = [arn.rpartition(":")[2] for arn in arns(glob, prefix="prod-")]
    assert all(resource.startswith("prod-") for resource in resources)
    (pattern,) = compile_patterns([glob])
    for name in (
        "prod-email-1",
        "prod-emailx",
        "prod-prod-emails",
        "prod-pay",
        "prod-x",
        "prod-prod-x",
        "prod-prod-emailx",
        "prod-mail",
    ):
        if pattern.matches(name, "prod-"):
            assert any(fnmatchcase(name, resource) for resource in resources), (name, resources)


def test_predefined_queues_are_addresses() -> None:
    found = places(compile_patterns(["em*", "pay"]), predefined={"email": URL, "pay": URL.replace("email", "Pay")})
    assert [(place.arn.rpartition(":")[2], place.found_by) for place in found] == [("email", "address"), ("Pay", "address")]


def actions(grants: Any) -> set[str]:
    return {action for grant in grants for action in grant.actions}


CONSUME = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}


@pytest.mark.parametrize(
    ("text", "required", "optional"),
    [
        (URL, set(), {"sqs:GetQueueAttributes"}),
        ("email", {"sqs:GetQueueUrl"}, {"sqs:GetQueueAttributes"}),
        ("em*", {"sqs:ListQueues"}, {"sqs:GetQueueAttributes", "sqs:ListDeadLetterSourceQueues"}),
    ],
)
def test_the_actions_of_a_worker_whose_tasks_publish_nothing(text: str, required: set[str], optional: set[str]) -> None:
    grants = worker_grants(places(compile_patterns([text])), sends=False)
    assert actions(grant for grant in grants if not grant.without) == CONSUME | required
    assert actions(grant for grant in grants if grant.without) == optional


def test_sends_and_dead_letters_need_to_send() -> None:
    queue, dlq = places(compile_patterns(["email"])), places(compile_patterns(["email-dlq"]))
    statements = document(worker_grants(queue, sends=True, dead_letters=dlq))["Statement"]
    send = [one["Resource"] for one in statements if one["Action"] == ["sqs:SendMessage"]]
    assert send == [["arn:aws:sqs:REGION:ACCOUNT:email"], ["arn:aws:sqs:REGION:ACCOUNT:email-dlq"]]


def test_a_producer_sends_and_lists_nothing() -> None:
    assert actions(producer_grants(places(compile_patterns(["em*"])))) == {"sqs:SendMessage", "sqs:GetQueueUrl"}
    assert actions(producer_grants(places(compile_patterns([URL])))) == {"sqs:SendMessage"}


def test_an_operator_may_do_what_the_commands_do_and_moves_only_what_lies_in_dead_letter_queues() -> None:
    queue, dlq = places(compile_patterns(["email"])), places(compile_patterns(["email-dlq"]))
    assert not {"sqs:DeleteMessage", "sqs:StartMessageMoveTask"} & actions(operator_grants(queue))
    statements = document(operator_grants(queue, dead_letters=dlq))["Statement"]
    by_action = {action: one["Resource"] for one in statements for action in one["Action"]}
    assert by_action["sqs:DeleteMessage"] == ["arn:aws:sqs:REGION:ACCOUNT:email-dlq"]
    assert by_action["sqs:PurgeQueue"] == by_action["sqs:SendMessage"] == ["arn:aws:sqs:REGION:ACCOUNT:email"]
    assert set(by_action) == {
        f"sqs:{name}"
        for name in (
            "CancelMessageMoveTask", "ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl",
            "ListDeadLetterSourceQueues", "ListMessageMoveTasks", "PurgeQueue", "ReceiveMessage", "SendMessage",
            "StartMessageMoveTask",
        )
    }  # fmt: skip


def test_the_operators_policy_is_printed_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["iam-policy", "-Q", URL, "--operator", "--dead-letter", "email-dlq", "--json"]) == 0
    text = capsys.readouterr().out
    assert "sqs:StartMessageMoveTask" in text
    assert "sqs:PurgeQueue" in text


@pytest.mark.parametrize("texts", [(URL,), ("email", "em*", URL)])
def test_the_documents_have_the_shape_of_iams_policy_grammar(texts: tuple[str, ...]) -> None:
    found = places(compile_patterns(texts))
    for policy in (
        document(worker_grants(found, sends=True, dead_letters=found)),
        document(producer_grants(found)),
        document(operator_grants(found, dead_letters=found)),
    ):
        assert set(policy) == {"Version", "Statement"}
        assert policy["Version"] == "2012-10-17"
        sids = [statement["Sid"] for statement in policy["Statement"]]
        assert len(sids) == len(set(sids))
        for statement in policy["Statement"]:
            assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
            assert re.fullmatch("[A-Za-z0-9]+", statement["Sid"])
            assert all(re.fullmatch(r"sqs:[A-Za-z]+", action) for action in statement["Action"])
            for arn in statement["Resource"]:
                assert arn == "*" or re.fullmatch(r"arn:aws[a-z-]*:sqs:[A-Za-z0-9-]+:[A-Za-z0-9]+:[A-Za-z0-9_*?.-]+", arn)
            assert (statement["Resource"] == ["*"]) == (statement["Action"] == ["sqs:ListQueues"])


def test_json_is_json_and_what_it_cannot_say_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["iam-policy", "-Q", "email", "--json"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == {"worker", "producer"}
    assert "REGION and ACCOUNT" in err
    assert "--sends" in err
    assert cli.main(["iam-policy", "-Q", URL, "--json", "--producer"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["Statement"][0]["Action"] == ["sqs:SendMessage"]
    assert "REGION" not in err
    assert "--sends" not in err


def test_for_people_it_says_what_each_action_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["iam-policy", "-Q", "em*", "--dead-letter", "dlq", "--sends"]) == 0
    out = capsys.readouterr().out
    for action in CONSUME | {"sqs:ListQueues", "sqs:GetQueueAttributes", "sqs:SendMessage", "sqs:ListDeadLetterSourceQueues"}:
        assert re.search(rf"^  {action} +[a-z]", out, re.MULTILINE), action
    assert "optional; without it" in out


def test_without_a_queue_it_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["iam-policy"]) == 2
    assert "which queues" in capsys.readouterr().err


def test_buckets_for_large_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["iam-policy", "-Q", URL.replace(".com/", ".com.cn/").replace("eu-west-1", "cn-north-1"), "--json"]
    assert cli.main([*arguments, "--sends", "--large-payload-bucket", "new,old"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = {one["Sid"]: one for who in told.values() for one in who["Statement"] if "Bodies" in one["Sid"]}
    both = ["arn:aws-cn:s3:::new/*", "arn:aws-cn:s3:::old/*"]
    assert {sid: (one["Action"], one["Resource"]) for sid, one in found.items()} == {
        "PyqsWorkerBodies": (["s3:GetObject"], both),
        "PyqsWorkerOptionalBodies": (["s3:DeleteObject"], both),
        "PyqsWorkerPutBodies": (["s3:PutObject"], both[:1]),
        "PyqsProducerPutBodies": (["s3:PutObject"], both[:1]),
    }
    assert cli.main(arguments) == 0
    assert "s3:" not in capsys.readouterr().out
