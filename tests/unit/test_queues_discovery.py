"""Which queues patterns mean: what is asked of SQS, what a glob leaves alone, what is missing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence

import pytest

from pyqs.errors import AccessDenied, ConfigError, QueueNotFound, SqsError, Throttled
from pyqs.queues.discovery import DeadLetters, Found, discover
from pyqs.queues.patterns import compile_patterns

BASE = "https://sqs.us-east-1.amazonaws.com/123456789012/"


class FakeSqs:
    """Queues with attributes, a record of the calls, and actions that are refused."""

    def __init__(self, *names: str, **redrive: str) -> None:
        self.names = list(names)
        self.redrive = {source.replace("_", "-"): target for source, target in redrive.items()}
        self.allow: dict[str, str] = {}
        self.errors: dict[str, SqsError] = {}
        self.calls: list[tuple[str, str]] = []

    def _called(self, action: str, about: str) -> None:
        self.calls.append((action, about))
        if action in self.errors:
            raise self.errors[action]

    def queue_url(self, name: str) -> str:
        self._called("GetQueueUrl", name)
        if name not in self.names:
            raise QueueNotFound(name, code="QueueDoesNotExist")
        return BASE + name

    def locate(self, address: str) -> str:
        if "eu-west-1" in address:
            raise ConfigError("another region")
        return BASE + address.replace(":", "/").rpartition("/")[2]

    def list_queues(self, prefix: str = "") -> Iterator[str]:
        self._called("ListQueues", prefix)
        yield from (BASE + name for name in self.names if name.startswith(prefix))

    def dead_letter_sources(self, queue_url: str) -> list[str]:
        name = queue_url.rpartition("/")[2]
        self._called("ListDeadLetterSourceQueues", name)
        return [BASE + source for source, target in self.redrive.items() if target == name]

    def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        name = queue_url.rpartition("/")[2]
        self._called("GetQueueAttributes", name)
        found = {}
        if name in self.redrive:
            arn = f"arn:aws:sqs:us-east-1:123456789012:{self.redrive[name]}"
            found["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
        if name in self.allow:
            found["RedriveAllowPolicy"] = self.allow[name]
        return found

    def actions(self) -> list[str]:
        return [action for action, _ in self.calls]


def find(sqs: FakeSqs, *texts: str, exclude: Sequence[str] = (), **options) -> Found:
    return discover(sqs, compile_patterns(texts), exclude=compile_patterns(exclude), **options)  # type: ignore[arg-type]


def refused(action: str) -> AccessDenied:
    return AccessDenied(f"{action}: not authorized", code="AccessDenied")


def test_names_are_looked_up_one_by_one_and_nothing_is_listed() -> None:
    sqs = FakeSqs("email-send", "b")
    sqs.errors["ListQueues"] = refused("ListQueues")
    found = find(sqs, "email.send", "b")
    assert found.queues == {"email-send": BASE + "email-send", "b": BASE + "b"}
    assert sqs.calls == [("GetQueueUrl", "email-send"), ("GetQueueUrl", "b")]


def test_urls_and_arns_cost_no_call() -> None:
    sqs = FakeSqs()
    found = find(sqs, BASE + "one", "arn:aws:sqs:us-east-1:123456789012:two")
    assert set(found.queues) == {"one", "two"}
    assert sqs.calls == []


def test_an_address_in_another_region_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        find(FakeSqs(), "arn:aws:sqs:eu-west-1:123456789012:two")


def test_a_glob_lists_under_its_head_in_both_forms_and_finds_both() -> None:
    sqs = FakeSqs("email-send", "email.read", "emails", "other")
    found = find(sqs, "email.*")
    assert set(found.queues) == {"email-send", "email.read"}
    assert [about for action, about in sqs.calls if action == "ListQueues"] == ["email-", "email."]


def test_overlapping_globs_list_once() -> None:
    sqs = FakeSqs("email-send")
    find(sqs, "email-*", "email-s*", "e*")
    assert [about for action, about in sqs.calls if action == "ListQueues"] == ["e"]


def test_a_missing_name_comes_with_near_matches_when_asked_for() -> None:
    sqs = FakeSqs("email-send", "email-sent", "reports")
    assert find(sqs, "email.snd").missing == {"email.snd": ()}
    assert "ListQueues" not in sqs.actions()
    found = find(sqs, "email.snd", "reports", suggest=True)
    assert found.missing == {"email.snd": ("email-send", "email-sent")}
    assert set(found.queues) == {"reports"}


def test_a_missing_name_without_permission_to_list_has_no_near_matches() -> None:
    sqs = FakeSqs("email-send")
    sqs.errors["ListQueues"] = refused("ListQueues")
    assert find(sqs, "email.snd", suggest=True).missing == {"email.snd": ()}


def test_a_glob_without_permission_to_list_says_so() -> None:
    sqs = FakeSqs("email-send")
    sqs.errors["ListQueues"] = refused("ListQueues")
    with pytest.raises(AccessDenied, match=r"'email\.\*' needs sqs:ListQueues"):
        find(sqs, "email.*")


def test_a_name_without_permission_to_look_it_up_points_to_urls() -> None:
    sqs = FakeSqs("email-send")
    sqs.errors["GetQueueUrl"] = refused("GetQueueUrl")
    with pytest.raises(AccessDenied, match="give the queue's URL"):
        find(sqs, "email-send")


def test_a_glob_takes_fifo_queues_only_if_it_ends_so() -> None:
    sqs = FakeSqs("a-1", "a-2.fifo")
    found = find(sqs, "a-*")
    assert set(found.queues) == {"a-1"}
    assert "FIFO" in found.skipped["a-2.fifo"]
    assert set(find(sqs, "a.*.fifo").queues) == {"a-2.fifo"}
    assert set(find(sqs, "a-2.fifo").queues) == {"a-2.fifo"}


@pytest.mark.parametrize(
    "name",
    [
        "celery_host-celery-pidbox",
        "3b241101-e2bb-4255-8caf-4136c566a962-reply-celery-pidbox",
        "celeryev-3b241101-e2bb-4255-8caf-4136c566a962",
        "celeryev",
        "3b241101-e2bb-3255-8caf-4136c566a962",
        "celery@host.celery.pidbox",
    ],
)
@pytest.mark.parametrize("prefix", ["", "prod-"])
def test_a_glob_never_takes_celerys_own_queues(name, prefix) -> None:
    found = find(FakeSqs(prefix + name, prefix + "work"), "*", prefix_bound=prefix)
    assert set(found.queues) == {prefix + "work"}
    assert "Celery's own" in found.skipped[prefix + name]


@pytest.mark.parametrize(
    "name", ["celeryevents", "my-pidboxes", "tenant-3b241101-e2bb-4255-8caf-4136c566a962", "dlqs", "mydlq"]
)
def test_but_names_that_only_look_a_little_like_those_are_taken(name) -> None:
    assert set(find(FakeSqs(name), "*").queues) == {name}


@pytest.mark.parametrize(
    "name",
    ["a-dlq", "a_dlq", "a-DLQ", "dlq", "a-dead-letter", "a_dead_letters", "a-deadletter", "a-dead-letter-queue", "a-dlq.fifo"],
)
def test_a_glob_never_takes_what_is_called_a_dead_letter_queue(name) -> None:
    sqs = FakeSqs(name, "a")
    found = find(sqs, "*", "*.fifo")
    assert set(found.queues) == {"a"}
    assert "dead-letter" in found.skipped[name]
    assert set(find(sqs, name).queues) == {name}


def test_a_glob_never_takes_the_dead_letter_queue_of_a_queue_outside_it() -> None:
    sqs = FakeSqs("orders", "orders-failed", "mail-failed", orders="orders-failed")
    assert set(find(sqs, "*-failed").queues) == {"mail-failed"}
    assert "GetQueueAttributes" not in sqs.actions()


@pytest.mark.parametrize("error", [refused("x"), SqsError("no such action", code="UnsupportedOperation")])
def test_without_list_dead_letter_source_queues_redrive_policies_tell(error) -> None:
    sqs = FakeSqs("mail", "mail-failed", "other-failed", mail="mail-failed")
    sqs.allow["other-failed"] = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:r:1:x"]})
    sqs.errors["ListDeadLetterSourceQueues"] = error
    found = find(sqs, "mail*", "*-failed")
    assert set(found.queues) == {"mail"}
    assert sqs.actions().count("ListDeadLetterSourceQueues") == 1


def test_without_any_permission_to_ask_names_protect_and_it_is_said_once(caplog) -> None:
    sqs = FakeSqs("mail", "mail-failed", "mail-dlq", mail="mail-failed")
    sqs.errors.update(ListDeadLetterSourceQueues=refused("x"), GetQueueAttributes=refused("y"))
    known = DeadLetters()
    with caplog.at_level(logging.WARNING):
        assert set(find(sqs, "mail*", dead_letters=known).queues) == {"mail", "mail-failed"}
        assert set(find(sqs, "mail*", dead_letters=known).queues) == {"mail", "mail-failed"}
    assert len(caplog.records) == 1


def test_dead_letter_queues_are_asked_about_once_in_ten_minutes() -> None:
    now = 0.0
    known = DeadLetters(clock=lambda: now)
    sqs = FakeSqs(*(f"q{n}" for n in range(30)))
    find(sqs, "q*", dead_letters=known)
    find(sqs, "q*", dead_letters=known)
    assert sqs.actions().count("ListDeadLetterSourceQueues") == 30
    sqs.names.append("q-new")
    find(sqs, "q*", dead_letters=known)
    assert sqs.actions().count("ListDeadLetterSourceQueues") == 31
    now = 601.0
    find(sqs, "q*", dead_letters=known)
    assert sqs.actions().count("ListDeadLetterSourceQueues") == 62


def test_throttling_is_the_callers_to_retry() -> None:
    sqs = FakeSqs("q1", "q2")
    sqs.errors["ListDeadLetterSourceQueues"] = Throttled("slow down")
    with pytest.raises(Throttled):
        find(sqs, "q*")


def test_exclude_wins_over_globs_and_names() -> None:
    sqs = FakeSqs("email-send", "email-test", "email-old")
    found = find(sqs, "email.*", "email.old", exclude=["email.t*", "email.old"])
    assert set(found.queues) == {"email-send"}
    assert found.skipped == {"email-test": "excluded by -X", "email-old": "excluded by -X"}


def test_an_apps_prefix_goes_before_names_and_bounds_globs() -> None:
    sqs = FakeSqs("prod-email-send", "prod-email-read", "test-email-send", "email-send")
    assert set(find(sqs, "email.*", prefix_bound="prod-").queues) == {"prod-email-send", "prod-email-read"}
    assert set(find(sqs, "*", prefix_bound="prod-").queues) == {"prod-email-send", "prod-email-read"}
    assert set(find(sqs, "email.send", prefix_bound="prod-").queues) == {"prod-email-send"}


def test_predefined_queues_replace_every_call() -> None:
    sqs = FakeSqs("email-other")
    predefined = {"email.send": BASE + "aws-name-1", "email-read": BASE + "aws-name-2", "x-dlq": BASE + "x-dlq"}
    assert find(sqs, "email.send", predefined=predefined).queues == {"aws-name-1": BASE + "aws-name-1"}
    assert set(find(sqs, "aws-*", predefined=predefined).queues) == {"aws-name-1", "aws-name-2"}
    assert find(sqs, "email-other", predefined=predefined).missing.keys() == {"email-other"}
    assert sqs.calls == []


def test_predefined_queues_match_a_glob_by_their_logical_name() -> None:
    predefined = {"email.send": BASE + "aws-name-1", "sms": BASE + "aws-name-2"}
    assert set(find(FakeSqs(), "email.*", predefined=predefined).queues) == {"aws-name-1"}


def test_two_queues_of_one_name_are_refused() -> None:
    predefined = {"a": "https://sqs.us-east-1.amazonaws.com/1/jobs", "b": "https://sqs.us-east-1.amazonaws.com/2/jobs"}
    sqs = FakeSqs()
    sqs.locate = lambda address: address  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="two queues are called 'jobs'"):
        find(sqs, "a", "b", predefined=predefined)


def test_thousands_of_queues() -> None:
    sqs = FakeSqs(*(f"email-{n}" for n in range(3000)), *(f"other-{n}" for n in range(3000)))
    assert len(find(sqs, "email.*").queues) == 3000


def test_the_first_pattern_that_matches_says_what_a_queue_may_have() -> None:
    sqs = FakeSqs("email-send", "email-read", "sms", "sms.fifo")
    patterns = compile_patterns(["email-read:max=1", "email.*:weight=3", "*:max=7,email-send:max=9,sms.fifo:weight=2"])
    found = discover(sqs, patterns)
    assert {name: str(options) for name, options in found.options().items()} == {
        "email-read": ":max=1",
        "email-send": ":weight=3",
        "sms": ":max=7",
        "sms.fifo": ":weight=2",  # which '*' would not have taken
    }
    assert sorted(found.overruled()) == ["email-read", "email-send"]
    assert "'email-send:max=9' does not count" in found.overruled()["email-send"]


def test_options_belong_to_queues_given_by_address_too() -> None:
    found = discover(FakeSqs(), compile_patterns([BASE + "jobs:max=2", "arn:aws:sqs:us-east-1:123456789012:mail:weight=2"]))
    assert {name: str(options) for name, options in found.options().items()} == {"jobs": ":max=2", "mail": ":weight=2"}
