"""Which signal asks the worker for what.

Owns: that table. Read once, in the main thread, when the worker takes over signals. Never handles one.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping

log = logging.getLogger(__name__)

#: Celery's variable: with the value "SIGQUIT", the one it knows, SIGTERM means what SIGQUIT means.
REMAP_SIGTERM = "REMAP_SIGTERM"


def orders(environ: Mapping[str, str] | None = None) -> dict[int, str]:
    """Signal -> "drain" (in order), "interrupt" (without waiting for open polls) or "stop" (at once)."""
    table: dict[int, str] = {signal.SIGTERM: "drain", signal.SIGINT: "interrupt", signal.SIGQUIT: "stop"}
    remapped = (os.environ if environ is None else environ).get(REMAP_SIGTERM, "")
    if remapped == "SIGQUIT":
        table[signal.SIGTERM] = table[signal.SIGQUIT]
    elif remapped:
        log.warning("%s=%r is ignored, it can only be SIGQUIT: SIGTERM stops the worker in order", REMAP_SIGTERM, remapped)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it, a terminal that closes sends it
        table[signal.SIGHUP] = "drain"
    return table
