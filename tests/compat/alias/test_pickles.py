"""Pickles name classes by where Celery has them: so a peer that runs genuine Celery finds them, and we find a peer's."""

from __future__ import annotations

from typing import Any

INSTALL = "from pyqs_celery_compat import install_as_celery; install_as_celery()\n"
ROUND = """
import pickle
from pyqs_celery_compat import exceptions
for one in (exceptions.Retry("late", when=3), exceptions.MaxRetriesExceededError("x"), exceptions.SoftTimeLimitExceeded(1)):
    data = pickle.dumps(one)
    again = pickle.loads(data)
    assert type(again) is type(one) and str(again) == str(one)
    assert b"pyqs" not in data
"""


def test_by_reference_with_the_alias(beside: Any) -> None:
    beside(INSTALL + ROUND)


def test_what_genuine_celery_wrote_is_ours_with_the_alias(beside: Any) -> None:
    beside(
        INSTALL
        + r"""
import pickle
data = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00ccelery.exceptions\nRetry\n."[:2] + b"ccelery.exceptions\nRetry\n."
from pyqs_celery_compat.exceptions import Retry
assert pickle.loads(data) is Retry
"""
    )


def test_without_the_alias_nothing_is_written_that_only_we_could_read(beside: Any) -> None:
    # Either the class is nowhere, or genuine Celery's is there under its name: pickle says so, and no message goes out.
    said = beside(ROUND, fails=True)
    assert "PicklingError" in said
    assert "celery.exceptions" in said


def test_names_say_where_celery_has_them(alone: Any) -> None:
    alone(
        INSTALL
        + """
from celery.exceptions import CeleryCommandException, OperationalError, Retry, TimeLimitExceeded
from celery.exceptions import get_pickleable_exception, reraise
from celery.local import Proxy
from celery.utils.serialization import UnpickleableExceptionWrapper
import kombu.exceptions
assert OperationalError is kombu.exceptions.OperationalError
assert Proxy.__module__ == "celery.local" and Retry.__module__ == "celery.exceptions"
assert CeleryCommandException("no", 3).exit_code == 3 and CeleryCommandException.__module__ == "celery.exceptions"
assert TimeLimitExceeded.__module__ == "billiard.exceptions"
assert UnpickleableExceptionWrapper.__module__ == "celery.utils.serialization"
import pickle
class Local(Exception):
    def __init__(self, a, b): super().__init__(a)
wrapped = get_pickleable_exception(Local(1, 2))
assert type(pickle.loads(pickle.dumps(wrapped))) is UnpickleableExceptionWrapper and str(wrapped) == "Local(1)"
assert repr(wrapped.restore()) == "Local(1)"
try:
    reraise(KeyError, KeyError("x"))
except KeyError as exc:
    assert exc.args == ("x",)
"""
    )
