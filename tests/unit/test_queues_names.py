"""Queue names: kombu's mapping observed and held, SQS's rules, URLs and ARNs."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs.errors import ConfigError
from pyqs.queues.names import (
    FIFO,
    canonical_name,
    check_name,
    default_queue_name,
    name_from_url,
    name_problem,
    parse_arn,
    parse_url,
    rebase_url,
    region_of_host,
)

OBSERVED = json.loads(Path(__file__).with_name("kombu-5.7.0-queue-names.json").read_text(encoding="utf-8"))
printable = st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation), max_size=100)


@pytest.mark.parametrize(("prefix", "name", "expected"), OBSERVED)
def test_maps_as_kombu_was_observed_to(prefix, name, expected) -> None:
    assert canonical_name(name, prefix) == expected


@given(printable, printable)
def test_mapped_ascii_is_legal_but_for_its_length(name, prefix) -> None:
    mapped = canonical_name(name, prefix)
    assert len(mapped) == len(prefix + name)
    problem = name_problem(mapped)
    assert problem is None or problem.startswith(("it is empty", "it has "))


@given(st.text(max_size=60))
def test_mapping_twice_changes_nothing(name) -> None:
    assert canonical_name(canonical_name(name)) == canonical_name(name)


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + "-_"), min_size=1, max_size=75), st.booleans())
def test_a_legal_name_maps_to_itself(name, fifo) -> None:
    full = name + FIFO if fifo else name
    assert canonical_name(full) == full == check_name(full)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "empty"),
        (".fifo", "empty"),
        ("a" * 81, "81"),
        ("a" * 76 + ".fifo", "81"),
        ("a b", "' '"),
        ("a.b", "'.'"),
        ("x.fifo.dlq", "'.'"),
        ("café", "'é'"),
        ("a\n", "'\\n'"),
    ],
)
def test_an_illegal_name_is_named_with_its_reason(name, word) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(name)
    assert repr(name) in str(caught.value)
    assert word in str(caught.value)


def test_the_longest_legal_names() -> None:
    assert check_name("a" * 80)
    assert check_name("a" * 75 + ".fifo")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("email.tasks.send_email", "email-tasks-send_email"),
        ("__main__.f", "__main__-f"),
        ("m.make.<locals>.f", "m-make-_locals_-f"),
        ("m.grüße", "m-gr__e"),
        ("m.x.fifo", "m-x-fifo"),
    ],
)
def test_the_default_queue_of_a_function(path, name) -> None:
    assert default_queue_name(path) == name
    check_name(name)


def test_a_path_too_long_for_a_queue_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="queue="):
        default_queue_name("package." * 12 + "f")


AWS_URLS = [
    ("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs", "eu-west-1"),
    ("https://eu-west-1.queue.amazonaws.com/123456789012/jobs", "eu-west-1"),
    ("https://queue.amazonaws.com/123456789012/jobs", ""),
    ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/jobs", "us-gov-west-1"),
    ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs", "cn-north-1"),
    ("https://sqs.eu-west-1.api.aws/123456789012/jobs", "eu-west-1"),
    ("https://vpce-0a1-b2.sqs.eu-west-1.vpce.amazonaws.com/123456789012/jobs", "eu-west-1"),
    ("http://127.0.0.1:9324/000000000000/jobs", ""),
    ("http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/jobs", ""),
    ("http://localhost:4566/some/where/000000000000/jobs/", ""),
]


@pytest.mark.parametrize(("url", "region"), AWS_URLS)
def test_a_url_taken_apart(url, region) -> None:
    address = parse_url(url)
    assert (address.name, address.region) == ("jobs", region)
    assert name_from_url(url) == "jobs"


@pytest.mark.parametrize("url", ["https://", "https://host", "https://host/jobs", "https://host/1/a b", "http:///1/jobs"])
def test_no_queue_url(url) -> None:
    with pytest.raises(ConfigError):
        parse_url(url)


def test_an_arn_taken_apart_and_its_url() -> None:
    address = parse_arn("arn:aws:sqs:eu-west-1:123456789012:jobs.fifo")
    assert (address.name, address.account, address.region) == ("jobs.fifo", "123456789012", "eu-west-1")
    assert address.url() == "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"
    assert address.url("http://127.0.0.1:9324/") == "http://127.0.0.1:9324/123456789012/jobs.fifo"
    china = parse_arn("arn:aws-cn:sqs:cn-north-1:123456789012:jobs")
    assert china.url() == "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs"


@pytest.mark.parametrize(
    "arn", ["arn:aws:sns:eu-west-1:1:topic", "arn:aws:sqs:eu-west-1:1", "arn:aws:sqs::1:q", "arn:aws:sqs:eu-west-1:1:a.b"]
)
def test_no_queue_arn(arn) -> None:
    with pytest.raises(ConfigError):
        parse_arn(arn)


def test_a_url_keeps_its_path_under_another_host() -> None:
    assert rebase_url("http://localhost:4566/000/jobs", "http://127.0.0.1:9324") == "http://127.0.0.1:9324/000/jobs"
    assert rebase_url("http://h/000/jobs", "https://h:1/base/") == "https://h:1/base/000/jobs"
    assert rebase_url("http://127.0.0.1:9324/000/jobs", "http://127.0.0.1:9324") == "http://127.0.0.1:9324/000/jobs"


def test_the_region_of_a_host_is_only_believed_of_aws() -> None:
    assert region_of_host("sqs.eu-west-1.amazonaws.com") == "eu-west-1"
    assert region_of_host("sqs.eu-west-1.amazonaws.com.evil.example") == ""
