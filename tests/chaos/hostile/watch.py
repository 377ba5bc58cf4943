"""The audit hook: while a body is read, the interpreter may be asked for next to nothing.

An audit hook cannot be taken out again, so this belongs in a process of its own. Everything that is not allowed here is a hit:
an unknown event is one, too.
"""

from __future__ import annotations

import os
import re
import sys
import zoneinfo
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Time zones are found by name: as files, or as a module of the package that carries them.
_ZONES = re.compile(r"tzdata(\.[A-Za-z0-9_+.-]+)?|pytz(\.[a-z_]+)?")
_HARMLESS = frozenset({"sys._getframe", "sys._current_frames", "object.__getattr__", "builtins.id", "socket.gethostname"})


class Watch:
    """Counts what the interpreter is asked for between ``begin`` and ``end``.

    While ``learning`` it only notes which modules are imported; those may be asked for later, too.

    Parameters:
        readable: folders whose files may be opened for reading.
    """

    def __init__(self, *readable: str) -> None:
        self.readable = tuple(os.path.realpath(folder) + os.sep for folder in (*readable, *zoneinfo.TZPATH))
        self.imports: set[str] = set()
        self.learning = True
        self._hits: list[str] | None = None
        sys.addaudithook(self._hear)

    def begin(self) -> None:
        self._hits = []

    def end(self) -> list[str]:
        """What was asked for and is not allowed."""
        hits, self._hits = self._hits or [], None
        return hits

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        hits = self._hits
        if hits is None or event in _HARMLESS:
            return
        if self.learning:
            if event == "import":
                self.imports.add(args[0])
            return
        self._hits = None  # what is done here is not heard
        try:
            if not self._allows(event, args):
                hits.append(f"{event} {args!r:.300}")
        finally:
            self._hits = hits

    def _allows(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "import":
            return args[0] in self.imports or _ZONES.fullmatch(args[0]) is not None
        if event == "open":
            path, mode, flags = args
            writes = (flags or 0) & _WRITING or (isinstance(mode, str) and set(mode) & set("wax+"))
            return not writes and self._may_read(path)
        if event in ("os.listdir", "os.scandir"):  # an import looks again into a folder of sys.path that has changed
            return self._may_read(args[0]) or args[0] in sys.path
        if event == "compile":  # parsed and not run: a source by the import policy, a line by a failed task's traceback
            return _asked_by("pyqs.import_policy", "_defines") or _asked_by(
                "traceback", "_extract_caret_anchors_from_line_segment"
            )
        return False

    def _may_read(self, path: object) -> bool:
        if isinstance(path, (str, bytes)):
            return (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(self.readable)
        return False


def _asked_by(module: str, function: str) -> bool:
    frame: Any = sys._getframe()
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == (module, function):
            return True
        frame = frame.f_back
    return False
