"""``python -m pyqs_celery_compat``, and ``python -m celery`` where that name is this package: Celery's command line.

Owns: nothing. Runs in the worker's process; executors import it without running anything.
"""

from __future__ import annotations

import sys

from pyqs_celery_compat.program import main

if __name__ == "__main__":
    sys.exit(main())
