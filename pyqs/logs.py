"""Log lines of pyqs's own processes: plain where a person reads them, coloured on a terminal, JSON where that was asked for.

Owns: the handler and the format of ``pyqs``'s command line, and the filter that keeps secrets out of it. Runs once at
the start of a worker and of each executor. Leaves logging alone where somebody else (Django, an app) has set it up.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
#: What a line is: text for people, or one JSON object.
FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL"}

#: At DEBUG these write headers (signatures, session tokens) and whole bodies; they never go below INFO here.
_CHATTY = ("boto3", "botocore", "urllib3", "s3transfer", "kombu", "asyncio")
#: What libraries say with each call, for as long as it is so: renewals of credentials that fail, with a traceback; a pool of
#: connections that is full. Of failures our own lines say it once.
_REPETITIVE = ("botocore.credentials", "urllib3.connectionpool")
#: Loggers whose records hold texts out of messages.
_OURS = ("pyqs", "celery")
#: What stands in a line instead of a secret.
REDACTED = "***"
#: Shorter "secrets" (``x`` for an emulator) would blank ordinary words.
_SHORTEST_SECRET = 8
#: Those of this process.
_secrets: tuple[str | None, ...] = ()
#: One of ``FORMATS``, in this process.
_format = FORMATS[0]
#: Makes text of tracebacks.
_EXCEPTIONS = logging.Formatter()
#: The handler that ``configure`` has made.
_own: logging.Handler | None = None


def level_name(text: str) -> str:
    """One of ``LEVELS`` for a level as people write it (``info``, ``WARN``).

    Raises:
        ValueError: no such level.
    """
    name = text.strip().upper()
    name = _ALIASES.get(name, name)
    if name not in LEVELS:
        raise ValueError(f"{text!r} is no log level; one of {', '.join(LEVELS).lower()}")
    return name


class RedactSecrets(logging.Filter):
    """Blanks known secrets in every record that passes its handler, wherever the record came from."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        super().__init__()
        self._secrets = tuple(s for s in secrets if s and len(s) >= _SHORTEST_SECRET)

    def clean(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; the record is changed only when a secret is in it, be it in its traceback."""
        if self._secrets:
            try:
                text = record.getMessage()
            except Exception:  # its arguments do not fit: its handler says so, and whoever logs goes on
                return True
            clean = self.clean(text)
            if clean != text:
                record.msg, record.args = clean, None
            if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
                text = _EXCEPTIONS.formatException(record.exc_info)
                clean = self.clean(text)
                if clean != text:
                    record.exc_text = clean
        return True


class _Exception(str):
    """An exception's text; ``%r`` shows what the exception's own would have been."""

    shown = ""

    def __repr__(self) -> str:
        return self.shown


class OneLine(logging.Filter):
    """Keeps what a message brings (a task's name, an id, a reason) from breaking out of its line in our own records.

    Control characters are shown as escapes, and a value is cut at ``LONGEST`` characters: whoever can write to a queue
    chooses these texts, and must not be able to forge a line or fill a disk. A record with ``verbatim`` is left alone.
    """

    LONGEST = 500

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; only the arguments of our own loggers' records are changed."""
        if isinstance(record.args, tuple) and record.name.startswith(_OURS) and not getattr(record, "verbatim", False):
            record.args = tuple(map(self._tame, record.args))
        return True

    def _tame(self, value: object) -> object:
        if isinstance(value, BaseException):
            told = _Exception(self._short(str(value)))
            told.shown = self._short(repr(value))
            return told
        return self._short(value) if isinstance(value, str) else value

    def _short(self, text: str) -> str:
        if len(text) > self.LONGEST:
            text = f"{text[: self.LONGEST]}... ({len(text)} characters)"
        return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Seldom(logging.Filter):
    """Lets one record of a kind through every few minutes, without its traceback: some libraries say the same with each try.

    Parameters:
        pause: seconds.
        clock: answers seconds.
    """

    def __init__(self, pause: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pause = pause
        self._clock = clock
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is time to say it again."""
        record.exc_info = record.exc_text = None
        kind, now = str(record.msg), self._clock()
        if now < self._next.get(kind, float("-inf")):
            return False
        self._next[kind] = now + self._pause
        return True


def configure(level: str = "INFO", *, secrets: Iterable[str | None] = (), colour: bool | None = None) -> None:
    """Log to stderr from ``level`` on; does nothing to handlers that are already there.

    Parameters:
        level: a name of ``LEVELS``.
        secrets: strings that must never appear in a line.
        colour: rich output; None asks whether stderr is a terminal.
    """
    global _own
    know(secrets)
    root = logging.getLogger()
    number = logging.getLevelName(level_name(level))
    if root.handlers:
        _repeat_seldom()
        logging.getLogger("pyqs").setLevel(number)
        logging.getLogger("pyqs_celery_compat").setLevel(number)
        return
    coloured = _format == "text" and (sys.stderr.isatty() if colour is None else colour)
    _own = _rich_handler() if coloured else _plain_handler()
    guard(_own)
    root.addHandler(_own)
    root.setLevel(number)
    calm(level)


def calm(level: str) -> None:
    """Keep what libraries say with each call, and what of it is secret, out of a log of this level."""
    _repeat_seldom()
    number = logging.getLevelName(level_name(level))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.INFO if number <= logging.DEBUG else logging.WARNING))


def _repeat_seldom() -> None:
    for repetitive in map(logging.getLogger, _REPETITIVE):
        if not any(isinstance(one, Seldom) for one in repetitive.filters):
            repetitive.addFilter(Seldom())


def know(secrets: Iterable[str | None]) -> None:
    """These strings must never appear in a line of this process."""
    global _secrets
    _secrets = tuple(secrets)


def choose(form: str) -> None:
    """Write lines of this form in this process: one of ``FORMATS``.

    With "json" what is logged or warned of where nobody has set up logging (an app's import in the forkserver), of level
    WARNING and above, is such a line, too.
    """
    global _format
    _format = form
    if form == "json":
        logging.lastResort = _plain_handler(logging.WARNING)
        guard(logging.lastResort)
        warnings.showwarning = _log_warning


def chosen() -> str:
    """One of ``FORMATS``."""
    return _format


def replace_own(handler: logging.Handler) -> logging.Handler | None:
    """Put a handler in the place of the one that ``configure`` has made, and answer that; None where it has made none."""
    global _own
    root, own = logging.getLogger(), _own
    if own is None or own not in root.handlers:
        return None
    root.removeHandler(own)
    root.addHandler(handler)
    _own = handler
    return own


def guard(handler: logging.Handler) -> None:
    """Keep the secrets that ``configure`` was told, and broken lines, out of what a handler of ours writes; JSON, if chosen."""
    redact = RedactSecrets(_secrets)
    handler.addFilter(OneLine())
    handler.addFilter(redact)
    if _format == "json":
        from pyqs.log_json import JsonLines

        handler.setFormatter(JsonLines(redact.clean))


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """``warnings.showwarning``: what Python warns of is a line of the log."""
    logging.getLogger("py.warnings").warning("%s:%d: %s: %s", filename, lineno, category.__name__, message)


def _plain_handler(level: int = logging.NOTSET) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler


@cache
def terminal() -> Console:
    """The terminal behind stderr; one object for lines and progress, so that they do not write over each other."""
    from rich.console import Console

    return Console(stderr=True)


def _rich_handler() -> logging.Handler:
    from rich.logging import RichHandler

    handler = RichHandler(console=terminal(), show_path=False, markup=False, log_time_format="%H:%M:%S")
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    return handler
