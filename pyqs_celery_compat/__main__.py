"""``python -m celery`` after ``install_as_celery()``, and ``python -m pyqs_celery_compat``: where the command is.

Owns: one line on standard error, and exit status 2. Never starts anything.
"""

from __future__ import annotations

import sys

from pyqs_celery_compat.bin import NO_COMMAND


def main() -> int:
    """Say it; answers the exit status."""
    print(NO_COMMAND, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
