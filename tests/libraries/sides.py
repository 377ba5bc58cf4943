"""A plugin of pytest: whose package the name ``celery`` is, decided before any test imports it, and held to be so.

Owns: the two sides of a run, which ``PYQS_LIBRARIES_SIDE`` names. Runs in the process of a library's tests.
"""

from __future__ import annotations

import os
import sys

import pytest

SIDE = os.environ["PYQS_LIBRARIES_SIDE"]

if SIDE == "alias":
    from pyqs_celery_compat import install_as_celery

    install_as_celery()


def pytest_collection_finish() -> None:
    """Nothing that the tests have imported has brought the other side in."""
    import celery

    if SIDE == "alias" and celery.Celery is not sys.modules["pyqs_celery_compat"].Celery:
        pytest.exit("celery is not this package", returncode=3)
    if SIDE == "celery" and "pyqs_celery_compat" in sys.modules:
        pytest.exit("this package is in a run that is Celery's", returncode=3)
