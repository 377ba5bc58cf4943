"""What our worker runs: ``t.integration.tasks`` of Celery's tests, on an app as their own fixtures make it."""

import os

from pyqs_celery_compat import install_as_celery

install_as_celery()

from celery import Celery  # noqa: E402
from integration_conftest import SETTINGS  # noqa: E402 - the alias comes first
from t.integration.tasks import ClassBasedAutoRetryTask  # noqa: E402

app = Celery("celery.tests", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_BACKEND"])
app.conf.update(SETTINGS)
app.register_task(ClassBasedAutoRetryTask())
