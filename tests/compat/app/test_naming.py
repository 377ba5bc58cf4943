"""Where Celery's classes say they are from, and which versions this package names."""

from __future__ import annotations

import re

import pytest

from pyqs_celery_compat import exceptions, version
from pyqs_celery_compat.naming import belongs_to


class Here:
    """Something with a module."""


def there() -> None:
    """Something else."""


def test_objects_and_names() -> None:
    belongs_to("celery.somewhere", Here, "there")
    assert Here.__module__ == there.__module__ == "celery.somewhere"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(NameError, match="has no 'nowhere'"):
        belongs_to("celery.somewhere", "nowhere")


def test_the_exceptions_are_celerys_and_billiards() -> None:
    named = {name: found.__module__ for name, found in vars(exceptions).items() if isinstance(found, type)}
    assert {name for name, module in named.items() if module == "billiard.exceptions"} == {
        "SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated"
    }  # fmt: skip
    assert named["Retry"] == named["NotRegistered"] == "celery.exceptions"
    own = [name for name, module in named.items() if module == exceptions.__name__]
    assert all(issubclass(getattr(exceptions, name), Warning) for name in own), "pytest-xdist imports these by name"
    assert named["ConfigError"] == "pyqs.errors"


def test_versions() -> None:
    assert version.CELERY == "5.7.0"
    assert re.match(r"\d+\.\d+", version.own())
