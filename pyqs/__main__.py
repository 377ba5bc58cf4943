"""``python -m pyqs``: the command line. Runs in the worker's process; executors import it without running anything."""

from __future__ import annotations

import sys

from pyqs.cli import main

if __name__ == "__main__":
    sys.exit(main())
