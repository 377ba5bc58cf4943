"""Stands for ``billiard.einfo``: what failure handlers get.

Owns: nothing itself. Loaded under billiard's name, in any process with the alias. Never has classes of its own.
"""

from __future__ import annotations

from pyqs_celery_compat.einfo import ExceptionInfo, ExceptionWithTraceback

__all__ = ["ExceptionInfo", "ExceptionWithTraceback"]
