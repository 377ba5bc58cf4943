"""Asking workers for their ``/stats``.

Owns: addresses, the request, and why there is no answer, in one line. Runs in a few threads of ``pyqs stats``. What answers
may be anything: only what looks like a worker's document is taken for one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pyqs.commands.options import LOOPBACK, HostPort

DEFAULT = f"{LOOPBACK}:8080"
PATH = "/stats"
#: Seconds for an answer, and most bytes of one.
PATIENCE = 5.0
_MOST = 32 << 20
_ABREAST = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question: the worker's document, or why there is none."""

    address: str
    stats: dict[str, Any] | None = None
    error: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"address": self.address, **({"stats": self.stats} if self.stats is not None else {"error": self.error})}


def url_of(address: str) -> str:
    """Where to ask: ``[HOST:]PORT``, or a URL, whose path may lead there already.

    Raises:
        click.BadParameter: it is neither.
    """
    if address.startswith(("http://", "https://")) and urlsplit(address).hostname:
        base = address.split("?", 1)[0].split("#", 1)[0].rstrip("/")
        return base if base.endswith(PATH) else base + PATH
    host, port = HostPort().convert(address, None, None)
    return f"http://[{host}]:{port}{PATH}" if ":" in host else f"http://{host}:{port}{PATH}"


def ask_all(addresses: Sequence[str]) -> list[Answer]:
    """All at once; the answers in the addresses' order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_ABREAST, len(addresses)), thread_name_prefix="pyqs-stats") as threads:
        return list(threads.map(ask, addresses))


def ask(address: str) -> Answer:
    """One worker."""
    import http.client
    import urllib.error
    import urllib.request

    # No proxy: workers are near, and their figures are nobody else's business.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url_of(address), timeout=PATIENCE) as response:
            found = json.loads(response.read(_MOST))
    except urllib.error.HTTPError as exc:
        hint = " (no worker of pyqs, or an older one)" if exc.code == 404 else ""
        return Answer(address, error=f"it answers, but with {exc.code} at {PATH}{hint}")
    except urllib.error.URLError as exc:
        reason = getattr(exc.reason, "strerror", None) or exc.reason
        return Answer(address, error=f"no answer: {reason}; does a worker run there, with --health?")
    except TimeoutError:
        return Answer(address, error=f"no answer within {PATIENCE:.0f} s")
    except (OSError, http.client.HTTPException) as exc:
        return Answer(address, error=f"no answer: {getattr(exc, 'strerror', None) or type(exc).__name__}")
    except (ValueError, RecursionError):
        return Answer(address, error="what answers is no worker of pyqs")
    if not isinstance(found, dict) or "pyqs" not in found or "state" not in found:
        return Answer(address, error="what answers is no worker of pyqs")
    return Answer(address, found)
