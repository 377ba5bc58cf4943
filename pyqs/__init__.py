"""pyqs: a small, fast task queue for Amazon SQS.

Owns: the native API, each name loaded from its module on first use, because web processes import it and most never send.
Importing it loads neither boto3 nor kombu.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "RawMessage",
    "ShutdownRequested",
    "SoftTimeLimitExceeded",
    "__version__",
    "events",
    "interruptible",
    "lambda_handler",
    "raw_task",
    "should_stop",
    "task",
]

__version__ = "2.0.0.dev0"

if TYPE_CHECKING:
    from pyqs import events
    from pyqs.aws_lambda import lambda_handler
    from pyqs.interruption import ShutdownRequested, SoftTimeLimitExceeded, interruptible, should_stop
    from pyqs.raw import RawMessage, raw_task
    from pyqs.tasks import task
else:  # not for type checkers: they should know a wrong name
    _HOMES = {
        "RawMessage": "raw",
        "ShutdownRequested": "interruption",
        "SoftTimeLimitExceeded": "interruption",
        "interruptible": "interruption",
        "lambda_handler": "aws_lambda",
        "raw_task": "raw",
        "should_stop": "interruption",
        "task": "tasks",
    }

    def __getattr__(name: str) -> Any:
        if name == "events":
            return importlib.import_module("pyqs.events")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
