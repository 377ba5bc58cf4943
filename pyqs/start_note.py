"""What an executor is about to run, noted in a page of memory that it shares with the worker.

Owns: that page. The executor's main thread writes it before each task, with no system call; the worker's pool thread reads it
when a task lasts, when the executor has died, and before it kills one. So of a short task the worker hears once, when it has
ended, and still knows what ran in an executor that is gone. Never waits: what is half written is no note.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from zlib import crc32

from pyqs.wire import FrameReader, Started, encode

#: Bytes of one note: a page. What does not fit goes through the pipe.
SIZE = 4096
_CHECKSUM = 4
#: Bytes of the checksum and of a frame's length.
_HEAD = _CHECKSUM + 4


def memory() -> int:
    """A descriptor of zeroed shared memory for one note; the caller closes it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pyqs-start-note")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, SIZE)
    return fd


class StartNote:
    """One note, as either side sees it.

    Parameters:
        fd: what ``memory`` has made; not needed any more after this.
    """

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, SIZE)

    def write(self, frame: Started) -> bool:
        """Put this note in the place of the last one; False if it does not fit.

        Raises:
            TypeError, ValueError: it is no frame; the last note still stands.
        """
        data = encode(frame)
        end = _CHECKSUM + len(data)
        if end > SIZE:
            return False
        # A checksum, since nothing keeps the reader from looking now, or this process from being killed in the middle.
        self._page[:end] = crc32(data).to_bytes(_CHECKSUM, "big") + data
        return True

    def read(self) -> Started | None:
        """The last note; None if there is none, or it is being written."""
        length = int.from_bytes(self._page[_CHECKSUM:_HEAD], "big")
        if not 0 < length <= SIZE - _HEAD:
            return None
        data = self._page[_CHECKSUM : _HEAD + length]
        if crc32(data).to_bytes(_CHECKSUM, "big") != self._page[:_CHECKSUM]:
            return None
        try:
            frames = list(FrameReader().feed(data))
        except ValueError:
            return None  # a task has written there
        return frames[0] if len(frames) == 1 and isinstance(frames[0], Started) else None

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()
