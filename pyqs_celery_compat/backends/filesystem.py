"""``file:///folder``: each result is a file of its key's name.

Owns: ``FilesystemBackend``. Lives in the process that calls a task and in the one that runs it; what they share is the folder.
A file is there with all its bytes or not at all.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.chord_parts import CLAIM
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_values import as_bytes

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class FilesystemBackend(KeyValueStoreBackend):
    """Keeps results in a folder that all processes see.

    Parameters:
        url: ``file:///folder`` or ``file://localhost/folder``.

    Raises:
        ImproperlyConfigured: there is no such folder, or no file can be written there.
    """

    thread_safe = True
    supports_result_compression = True
    longest_pause = 0.1

    def __init__(self, url: str | None = None, *, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, url=url, **kwargs)
        if not url or not url.startswith("file://"):
            raise ImproperlyConfigured(f"a result backend in files is file:///folder, not {url!r}")
        self.path = Path(url.removeprefix("file://").removeprefix("localhost"))
        try:
            self.set(".pyqs-tries", b"")
            self.delete(".pyqs-tries")
        except OSError as exc:
            raise ImproperlyConfigured(f"{url}: results cannot be kept in {self.path}: {exc.strerror}") from exc

    def get(self, key: str) -> bytes | None:
        try:
            return self._file(key).read_bytes()
        except FileNotFoundError:
            return None

    def set(self, key: str, value: bytes | str) -> None:
        value = as_bytes(value)
        target = self._file(key)
        handle, temporary = tempfile.mkstemp(prefix=".", dir=self.path)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(value)
            os.chmod(temporary, 0o666 & ~_umask)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    def delete(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    # -- chords: a file of a name of its own says who sends the body --------------------------------------------------
    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        file = self._file(self.get_key_for_chord(group_id))
        for _ in range(2):
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                return True
            except FileExistsError:
                pass
            try:
                if file.read_bytes():
                    return None
                if file.stat().st_mtime > time.time() - seconds:
                    return False
                os.rename(file, file.with_name(f"{file.name}.{os.getpid()}"))  # of several that try one succeeds
                os.unlink(file.with_name(f"{file.name}.{os.getpid()}"))
            except FileNotFoundError:
                continue
        return False

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        self.set(self.get_key_for_chord(group_id), b"sent")

    def cleanup(self) -> None:
        """Delete the files of results that have expired."""
        if not self.expires:
            return
        too_old = time.time() - float(self.expires)
        for prefix in (self.task_keyprefix, self.group_keyprefix, self.chord_keyprefix):
            for file in self.path.glob(f"{prefix}*"):
                if file.stat().st_mtime < too_old:
                    file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        """Raises ValueError for a key (a task id from a message is in it) that would leave the folder."""
        if "/" in key or os.sep in key or "\0" in key:
            raise ValueError(f"a result backend in files has no place for the key {key!r}")
        return self.path / key


#: Of this process: ``mkstemp`` makes files that nobody else can read, and the reader may be another user.
_umask = os.umask(0o022)
os.umask(_umask)

belongs_to("celery.backends.filesystem", FilesystemBackend)
