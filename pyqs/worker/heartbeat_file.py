"""A file whose age says whether the worker is alive, for probes that are a command.

Owns: that file, from the start to an ordered exit. Used by the health thread. Never touches a file that another worker has
put in its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat

from pyqs.errors import ConfigError

log = logging.getLogger(__name__)


class HeartbeatFile:
    """Made at once, whole from its first moment (under another name, then renamed); holds the worker's pid.

    Raises:
        ConfigError: the path cannot be written, or is no ordinary file.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._fd = -1
        self._failing = ""
        try:
            if not _is_free(self._path):
                raise ConfigError(f"--heartbeat-file: {path} is there already and is no ordinary file")
            self._make()
        except OSError as exc:
            raise ConfigError(f"--heartbeat-file: {path} cannot be written: {exc.strerror or exc}") from None

    def renew(self) -> None:
        """The worker is alive now. A file that somebody has removed is made again; a failure is said once."""
        try:
            if not os.path.lexists(self._path):
                self._make()
            else:
                os.utime(self._fd)
        except OSError as exc:
            self._say(f"it cannot be renewed: {exc.strerror or exc}")
            return
        self._say("" if self._is_ours() else "somebody else has put another file in its place")

    def remove(self) -> None:
        """The worker ends in order."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                os.unlink(self._path)
        self.close()

    def close(self) -> None:
        """Leave the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _make(self) -> None:
        """Under another name, then renamed: nobody sees it half made. Its descriptor stays, to renew this file and no other."""
        draft = f"{self._path}.{os.getpid()}.new"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, f"{os.getpid()}\n".encode())
            os.replace(draft, self._path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        self.close()
        self._fd = fd

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._fd))
        except OSError:
            return False

    def _say(self, failing: str) -> None:
        if failing and failing != self._failing:
            log.warning("heartbeat file %s: %s", self._path, failing)
        elif self._failing and not failing:
            log.info("heartbeat file %s: renewed again", self._path)
        self._failing = failing


def _is_free(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True
