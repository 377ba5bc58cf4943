"""Celery's path of ``Signal``.

Owns: the name. Runs wherever signals are sent. Never more than ``signal.py`` has.
"""

from __future__ import annotations

from pyqs_celery_compat.utils.dispatch.signal import Signal

__all__ = ["Signal"]
