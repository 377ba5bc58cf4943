"""Short hops: what is due in a minute hops a dozen times (``CHAOS_LONGEST_HOP`` seconds each, SQS's own limit is 900)."""

import os

from pyqs_celery_compat import runtime

runtime.MAX_DELAY = int(os.environ["CHAOS_LONGEST_HOP"])
