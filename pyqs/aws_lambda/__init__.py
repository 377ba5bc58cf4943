"""AWS Lambda: tasks run in a function behind an SQS event source mapping, where there is no worker.

Owns: ``lambda_handler``, the handler of native tasks, made from ``PYQS_*`` variables when it is first named, so that a wrong
one fails the function's start and not its messages. Behind it: ``settings``, ``event`` (Lambda's event as deliveries),
``invocation`` (the handler), ``books`` (what is done and what waits), ``clockwork`` (limits, the end of the invocation's time)
and ``settling`` (verdicts). Runs in the function's one process. Never receives: Lambda does that, and deletes what was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["handler", "lambda_handler"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    def lambda_handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Run the records of one SQS event; answers those that have failed."""
        ...

    handler = lambda_handler
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pyqs.aws_lambda.invocation import LambdaHandler
        from pyqs.aws_lambda.settings import from_environment

        made = LambdaHandler(from_environment())
        globals().update(dict.fromkeys(__all__, made))
        return made
