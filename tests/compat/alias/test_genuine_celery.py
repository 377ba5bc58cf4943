"""Genuine Celery on the same path: which of the two is imported, and what happens where it came first."""

from __future__ import annotations

import re
from typing import Any

INSTALL = "from pyqs_celery_compat import install_as_celery\n"


def test_ours_is_imported_where_both_are_installed(with_celery: Any) -> None:
    with_celery(
        INSTALL
        + """
install_as_celery()
import celery, pyqs_celery_compat
assert celery is pyqs_celery_compat and not hasattr(celery, "GENUINE")
import celery.exceptions
assert celery.exceptions is pyqs_celery_compat.exceptions
"""
    )


def test_genuine_celery_imported_first_is_an_error_that_says_where_from_and_what_to_do(with_celery: Any) -> None:
    said = with_celery("import celery\n" + INSTALL + "install_as_celery()", fails=True)
    assert re.search(r"ImportError: install_as_celery\(\) comes too late.*imported before, from .*celery.__init__\.py", said)
    assert "Call it first" in said
    assert "PYQS_AS_CELERY=1, which is earlier" in said
    assert "PYQS_AS_CELERY=0 (pyqs worker --no-alias)" in said


def test_the_error_leaves_genuine_celery_as_it_was(with_celery: Any) -> None:
    with_celery(
        "import celery, sys\nbefore = list(sys.meta_path)\n"
        + INSTALL
        + """
try:
    install_as_celery()
except ImportError:
    pass
assert sys.meta_path == before and sys.modules["celery"] is celery
import celery.exceptions, pyqs_celery_compat.exceptions
assert celery.exceptions is not pyqs_celery_compat.exceptions
"""
    )


def test_the_variable_switches_it_off(with_celery: Any) -> None:
    for value in ("0", "no", "False", " off "):
        with_celery(
            INSTALL
            + "assert install_as_celery() is False\nimport celery, pyqs_celery_compat as ours\nassert celery is not ours",
            PYQS_AS_CELERY=value,
        )
    with_celery(
        INSTALL + "assert install_as_celery(force=True)\nimport celery, pyqs_celery_compat as ours\nassert celery is ours",
        PYQS_AS_CELERY="0",
    )


def test_a_variable_that_says_neither_is_an_error(alone: Any) -> None:
    said = alone(INSTALL + "install_as_celery()", fails=True, PYQS_AS_CELERY="maybe")
    assert "PYQS_AS_CELERY is 'maybe': 1 has `import celery` give pyqs_celery_compat, 0 leaves it to Celery" in said


def test_the_distribution_is_presented_only_where_there_is_none(beside: Any) -> None:
    out = beside(
        INSTALL
        + """
install_as_celery()
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
found = distribution("celery")
print(version("celery"), type(found).__name__)
import sys
assert found.metadata["Name"] == "celery" and found.requires is None or type(found).__name__ == "PathDistribution"
listed = [one for one in distributions() if type(one).__name__ == "Presented"]
assert listed == [], "installers would take it for installed"
try:
    distribution("celery-once")
    raise AssertionError
except PackageNotFoundError:
    pass
"""
    )
    assert out in ("5.7.0 Presented", "5.6.3 PathDistribution", "5.7.0 PathDistribution")
