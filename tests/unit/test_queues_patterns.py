"""``-Q`` and ``-X``: what a pattern matches, what it lists under, and what is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs.errors import ConfigError
from pyqs.queues import Pattern, canonical_name, compile_patterns


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("email.*", ["email-send", "email.send", "email-", "email-a-b"], ["email", "emails", "email_send", "my-email-send"]),
        ("email-*", ["email-send", "email-"], ["email_send", "email.send"]),
        ("*", ["a", "a-b", "a.fifo"], []),
        ("a?c", ["abc", "a-c"], ["ac", "abbc"]),
        ("a.?", ["a-b", "a.b"], ["a_b"]),
        ("q[0-9]", ["q0", "q9"], ["qa", "q", "q10"]),
        ("q[!0-9]", ["qa"], ["q0"]),
        ("q[.:]x", ["q.x", "q:x", "q-x", "q_x"], ["qax"]),
        ("q[a.z]", ["qa", "q-", "qz"], ["qm"]),
        ("a:b/*", ["a_b_c", "a:b/c"], ["a-b-c"]),
        ("email.*.fifo", ["email-x.fifo", "email-x-y.fifo"], ["email-x-fifo", "email-x"]),
        ("email.send", ["email-send", "email.send"], ["email_send", "email-send2"]),
        ("Email.*", ["Email-a"], ["email-a"]),
        ("*.high", ["a-high", "a.high"], ["ahigh", "a-high2"]),
        ("a+b*", ["a_b", "a+b1"], ["ab", "aab"]),
    ],
)
def test_matches_by_the_logical_and_the_mapped_form(pattern, matching, others) -> None:
    one = Pattern(pattern)
    assert [name for name in matching if not one.matches(name)] == []
    assert [name for name in others if one.matches(name)] == []


@given(st.text("abcXYZ019-_.:/@", min_size=1, max_size=40))
def test_a_literal_means_its_mapped_name_and_a_glob_of_it_too(name) -> None:
    assert Pattern(name).matches(canonical_name(name))
    assert Pattern(name + "*").matches(canonical_name(name) + "more")


@given(
    st.lists(st.sampled_from(["a", "b", ".", "-", "*", "?", "[ab]", "[!a]", "_"]), min_size=1, max_size=8).map("".join),
    st.text("ab-_.", max_size=12),
    st.sampled_from(["", "p-", "p.", "a"]),
)
def test_every_match_is_listed_under_one_of_the_prefixes(glob, name, prefix) -> None:
    pattern = Pattern(glob)
    full = canonical_name(prefix) + name
    for candidate in (name, full):
        if pattern.is_glob and pattern.matches(candidate, prefix):
            assert any(candidate.startswith(head) for head in pattern.listing_prefixes(prefix))


def test_an_apps_prefix_bounds_a_glob() -> None:
    assert Pattern("email.*").matches("prod-email-send", "prod-")
    assert Pattern("email.*").matches("prod-email-send", "prod.")
    assert Pattern("prod-*").matches("prod-email-send", "prod-")
    assert not Pattern("email.*").matches("email-send", "prod-")
    assert not Pattern("*").matches("test-email-send", "prod-")
    assert Pattern("email.send").matches("prod-email-send", "prod-")
    assert not Pattern("email.send").matches("email-send", "prod-")


@pytest.mark.parametrize(
    ("pattern", "prefix", "heads"),
    [
        ("email.*", "", ["email-", "email."]),
        ("email-*", "", ["email-"]),
        ("*", "", [""]),
        ("em[a-z]il*", "", ["em"]),
        ("email.*", "prod-", ["prod-email-", "prod-email."]),
        ("*", "prod-", ["prod-"]),
        ("prod-em*", "prod-", ["prod-em", "prod-prod-em"]),
    ],
)
def test_lists_under_the_literal_head_in_both_forms(pattern, prefix, heads) -> None:
    assert Pattern(pattern).listing_prefixes(prefix) == heads


def test_comma_lists_spaces_and_doubles() -> None:
    found = compile_patterns(["a, b ,c", "b", " d-* ", "[x,y]*"])
    assert [one.text for one in found] == ["a", "b", "c", "d-*", "[x,y]*"]
    assert [one.is_glob for one in found] == [False, False, False, True, True]


def test_urls_and_arns_are_addresses() -> None:
    url, arn = compile_patterns(["https://sqs.eu-west-1.amazonaws.com/1/jobs", "arn:aws:sqs:eu-west-1:1:other"])
    assert url.is_address
    assert not url.is_glob
    assert (url.name(), arn.name()) == ("jobs", "other")
    assert url.name("prefix-") == "jobs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("  ", ["empty"]),
        ("a,,b", ["'a,,b'", "empty item"]),
        ("a,", ["empty item"]),
        ("email[", ["'email['", "never closed"]),
        ("email[]", ["never closed"]),
        ("a]b", ["closes no"]),
        ("a[[b]", ["inside the class"]),
        ("a[z-a]*", ["backwards"]),
        ("send email", ["'send email'", "space"]),
        ("a" * 81, ["81"]),
        ("café", ["'é'"]),
        ("email.*:weight=3:max=2", ["max=", "not available yet"]),
        ("email.*:max=2", ["max=", "not available yet"]),
        ("email.*:speed=2", ["no option 'speed'"]),
        ("https://host", ["no queue URL"]),
        ("arn:aws:s3:::bucket", ["no queue ARN"]),
    ],
)
def test_a_malformed_pattern_says_what_and_how(text, words) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_patterns([text])
    for word in words:
        assert word in str(caught.value)


@given(st.text("ab*?[]!-.,: /", max_size=15))
def test_any_text_compiles_to_patterns_that_match_or_is_refused(text) -> None:
    try:
        patterns = compile_patterns([text])
    except ConfigError:
        return
    for pattern in patterns:
        assert pattern.matches("a-b") in (True, False)
