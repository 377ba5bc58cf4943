"""What every test shares: an environment without AWS settings of the person who runs it, so nothing can leave the machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

#: Variables that steer the tests themselves.
OURS = ("PYQS_TEST_", "PYQS_INTEROP_", "PYQS_CONTRACT_", "PYQS_CHAOS_")


def pytest_configure(config: pytest.Config) -> None:
    """Before any import of ours: dummy credentials, no profile, no metadata service (unless the AWS suite was asked for)."""
    for name in [n for n in os.environ if n.startswith("PYQS_") and not n.startswith(OURS)]:
        del os.environ[name]
    if os.environ.get("PYQS_TEST_AWS") == "1":
        return
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )


@pytest.fixture(autouse=True)
def same_log_levels() -> Iterator[None]:
    """What a test makes of the loggers is over with it: the next may look for lines of another level."""
    loggers = [logging.getLogger(name) for name in ("", "pyqs", "pyqs_celery_compat", "celery")]
    before = [(logger.level, logger.disabled, logger.propagate, logger.handlers.copy()) for logger in loggers]
    yield
    for logger, (level, disabled, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate
        logger.handlers[:] = [one for one in logger.handlers if one in handlers or "pytest" in type(one).__module__]
