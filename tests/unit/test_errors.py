"""The tree of errors is the one its docstring draws, and says who must act."""

from __future__ import annotations

import inspect
import re

import pytest

from pyqs import errors
from pyqs.message import SentMessage


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").split("::")[1].splitlines():
        found = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)", line)
        if found:
            depth = len(found.group(1)) // 4
            path[depth:] = [found.group(2)]
            drawn[path[depth]] = path[depth - 1] if depth else "Exception"
    real = {
        name: cls.__bases__[0].__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if cls.__module__ == "pyqs.errors"
    }
    assert drawn == real


def test_what_may_be_tried_again() -> None:
    assert errors.Unreachable("x").retryable
    assert errors.Throttled("x").retryable
    assert not errors.AccessDenied("x").retryable
    assert not errors.QueueNotFound("x").retryable
    assert errors.AccessDenied("x", retryable=True).retryable


def test_a_batch_is_retryable_when_all_its_failures_are() -> None:
    good, soft, hard = SentMessage("m"), errors.Throttled("slow", code="Throttling"), errors.AccessDenied("no", code="Denied")
    assert errors.SendFailed("x", [good, soft]).retryable
    assert not errors.SendFailed("x", [soft, hard]).retryable
    assert errors.SendFailed("x", [good, hard, soft]).code == "Denied"
    assert errors.SendFailed("x", [good, soft]).results == (good, soft)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.Undecodable("base64", "odd length"), "undecodable base64: odd length"),
        (errors.Refused("application/x-yaml", "--accept yaml reads it"), "'application/x-yaml' is not accepted; --accept yaml"),
        (errors.UnknownTask("a.b"), "unknown task 'a.b'"),
        (errors.UnknownTask("a.b", "include it"), "unknown task 'a.b': include it"),
    ],
)
def test_texts_for_people(error: Exception, text: str) -> None:
    assert text in str(error)


def test_a_bad_option_is_a_value_error_too() -> None:
    assert issubclass(errors.BadMessageOption, ValueError)
