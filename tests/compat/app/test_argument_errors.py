"""What is said of arguments that do not fit is what Python says when the function is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from pyqs_celery_compat.argument_errors import reason

HEADS = (
    "", "a", "a, b", "a, b, c", "a, b=1", "a=1, b=2", "a, /", "a, /, b", "a, b=1, /, c=2", "*, k", "a, *, k", "a, *, k=1",
    "a, b=1, *, k, l", "a, *rest", "a, **more", "*rest, k", "a, /, **more", "a, *rest, k, l=1, **more", "a, *, k, l, m",
)  # fmt: skip
NAMED = ({}, {"a": 1}, {"z": 1}, {"k": 1}, {"b": 1, "k": 1}, {"c": 1, "a": 2}, {"a": 1, "b": 2, "c": 3, "k": 4})
CALLS = list(product(range(4), NAMED))


def function(head: str) -> Callable[..., None]:
    namespace: dict[str, Any] = {}
    exec(f"def f({head}): pass", namespace)  # noqa: S102 - of the lines above
    found: Callable[..., None] = namespace["f"]
    return found


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("count", "kwargs"), CALLS)
def test_it_is_what_python_says(head: str, count: int, kwargs: dict[str, int]) -> None:
    fun, args = function(head), tuple(range(count))
    try:
        fun(*args, **kwargs)
    except TypeError as exc:
        said: str | None = str(exc).removeprefix("f() ")
    else:
        said = None
    assert reason(tuple(inspect.signature(fun).parameters.values()), args, kwargs) == said
