"""PyQS's entry points: ``pyqs.main.main()`` and ``pyqs.main._main(...)``, for those who wrap them in a command of their own.

Owns: their signatures, which take PyQS 1.0.1's parameters. Runs in the main thread of the calling process, which becomes
the worker. Hooks registered before the call reach the executors as dotted paths.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyqs import cli


def main() -> None:
    """PyQS's console script: ``sys.argv`` as ``pyqs`` itself reads it; ends in SystemExit."""
    sys.exit(cli.main())


def _main(
    queue_prefixes: Sequence[str],
    concurrency: int = 5,
    logging_level: str = "WARN",
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    interval: float | None = None,
    batchsize: int | None = None,
    prefetch_multiplier: int | None = None,
    simple_worker: bool = False,
    endpoint_url: str | None = None,
) -> None:
    """Run a worker in this process, on its main thread, until it is told to stop.

    Parameters:
        queue_prefixes: names or globs (PyQS's own word for them), URLs or ARNs.
        concurrency: executors.
        logging_level: a name of Python's logging.
        region, access_key_id, secret_access_key, endpoint_url: what is None comes from ``PYQS_*`` variables, then from
            the AWS SDK's own chain.
        interval: seconds; has no effect, nothing is polled in a loop.
        batchsize: messages of one receive, 1-10.
        prefetch_multiplier: holds at most ``concurrency * prefetch_multiplier * batchsize`` messages.
        simple_worker: holds nothing beyond what runs.

    Raises:
        SystemExit: with 1 or 2, after a line on stderr, when the worker crashed or could not start. A stop in order returns.
    """
    from pyqs.commands import legacy

    try:
        code = legacy.start(
            tuple(queue_prefixes),
            concurrency=concurrency,
            log_level=logging_level,
            connection={
                "region": region,
                "access_key_id": access_key_id,
                "secret_access_key": secret_access_key,
                "endpoint_url": endpoint_url,
            },
            interval=interval,
            batchsize=batchsize,
            prefetch_multiplier=prefetch_multiplier,
            simple_worker=simple_worker,
        )
    except Exception as error:
        code = cli.report(error)
    if code:
        sys.exit(code)
