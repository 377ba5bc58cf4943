"""``-Q`` and ``-X``: what a pattern matches, what it lists under, and what is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs.errors import ConfigError
from pyqs.queues.names import canonical_name
from pyqs.queues.patterns import Pattern, compile_patterns
from pyqs.queues.queue_options import QueueOptions


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
    st.builds(str.__add__, st.text("ab-_", max_size=12), st.sampled_from(["", ".fifo"])),  # SQS has no other names
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
        ("email.*:min=1", ["min=", "idle", "weight="]),
        ("email.*:speed=2", ["no option 'speed'"]),
        ("email.*:max=2:max=3", ["max=", "twice"]),
        ("email.*:max=0", ["max=", "'0'"]),
        ("email.*:max=1.5", ["max=", "'1.5'"]),
        ("email.*:max=", ["max=", "''"]),
        ("email.*:weight=0", ["weight=", "0.001 to 1000", "'0'"]),
        ("email.*:weight=nan", ["weight=", "'nan'"]),
        ("email.*:weight=1_0", ["weight=", "'1_0'"]),
        ("email.*:weight=-1", ["weight=", "'-1'"]),
        ("email.*:weight=1e3", ["weight=", "'1e3'"]),
        ("email:max", ["max needs a value"]),
        (":max=2", ["no queue in front"]),
        ("a,a:max=2", ["twice with different options", "a:max=2"]),
        ("q[:weight=3", ["never closed"]),
        ("https://host/q:max=2", ["no queue URL"]),
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


_ADDRESSES = [
    "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs",
    "http://127.0.0.1:4566/000000000000/jobs",
    "https://localhost:4566/000000000000/jobs.fifo",
    "arn:aws:sqs:eu-west-1:123456789012:jobs",
    "arn:aws-cn:sqs:cn-north-1:123456789012:jobs.fifo",
]
_texts = st.one_of(
    st.sampled_from(_ADDRESSES),
    st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True),
    st.from_regex(r"[a-z.]{0,8}(\*|\?|\[[a-z:.=]{1,4}\]|\[![0-9]-9\])[a-z.*]{0,8}", fullmatch=True),
)
_options = st.builds(
    QueueOptions,
    st.one_of(st.just(1.0), st.integers(1, 1_000_000).map(lambda thousandths: thousandths / 1000)),
    st.one_of(st.none(), st.integers(1, 999_999)),
)


@given(_texts, _options)
def test_a_pattern_is_read_back_as_it_is_written(text, options) -> None:
    (read,) = compile_patterns([str(Pattern(text, options))])
    assert (read.text, read.options) == (text, options)
    assert compile_patterns([str(read)]) == (read,)
    plain = Pattern(text)
    assert (read.is_glob, read.is_address) == (plain.is_glob, plain.is_address)
    if not read.is_glob:
        assert read.name() == plain.name()


@given(_texts, _options)
def test_options_come_in_any_order(text, options) -> None:
    most = f":max={options.max}" if options.max is not None else ""
    turned = f"{text}{most}:weight={options.weight}"
    assert compile_patterns([turned])[0] == Pattern(text, options)


@given(st.lists(st.tuples(_texts, _options), min_size=1, max_size=4, unique_by=lambda one: one[0]))
def test_a_comma_list_is_the_same_as_options_given_again(items) -> None:
    texts = [str(Pattern(*item)) for item in items]
    assert compile_patterns([", ".join(texts)]) == compile_patterns(texts) == tuple(Pattern(*item) for item in items)


@given(
    st.sampled_from([*_ADDRESSES, "email.*", "jobs", "q[a:b]*"]),
    st.lists(
        st.tuples(st.sampled_from(["weight", "max", "min", "speed"]), st.text("0123456789.:=[]-e ", max_size=6)), max_size=3
    ),
)
def test_any_options_are_read_or_refused_and_nothing_of_them_gets_into_the_name(text, options) -> None:
    given_text = text + "".join(f":{key}={value}" for key, value in options)
    try:
        (pattern,) = compile_patterns([given_text])
    except ConfigError:
        return
    if not any(set(value) & set(":[]") for _, value in options):
        assert pattern.text == text
        assert 0.001 <= pattern.options.weight <= 1000
        assert pattern.options.max is None or pattern.options.max >= 1


def test_what_is_excluded_has_no_options() -> None:
    assert [one.text for one in compile_patterns(["a, b*"], excluding=True)] == ["a", "b*"]
    with pytest.raises(ConfigError, match="has no options; leave :max=2 out"):
        compile_patterns(["a:max=2"], excluding=True)
