"""Door to the engine's Lambda function: the handler of an app.

Owns: ``handler_of``. Runs when a function's module is loaded. Never receives and never deletes: see ``pyqs.aws_lambda``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyqs.aws_lambda.invocation import LambdaHandler
from pyqs.aws_lambda.settings import from_environment
from pyqs_celery_compat import conf
from pyqs_celery_compat.runtime import CeleryRuntime

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


def handler_of(app: Celery) -> LambdaHandler:
    """The app's handler, with its tasks loaded.

    Raises:
        ImproperlyConfigured: the app cannot be served. ConfigError: a ``PYQS_*`` variable. Whatever its imports raise.
    """
    connection = conf.worker_connection(app)
    config = from_environment().over(connection)
    runtime = CeleryRuntime(config.worker.runtime, app)
    return LambdaHandler(config, runtime, connector=lambda: app.publisher.client_for(""))
