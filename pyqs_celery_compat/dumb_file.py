"""The kind of ``dbm`` file that every Python can make, read and written so that a kill at any moment leaves the old or the new.

Owns: ``DumbFile``, in the format of Python's ``dbm.dumb``: values in ``.dat``, and in ``.dir`` a line for each key that says
where its value is. Python's own writes over a value, and empties the index before it writes it: a process that is killed then
has forgotten what it knew. Runs in beat, which has locked the file. Never writes where a value is that the index on disk
names.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, MutableMapping

#: Values begin at multiples of it.
BLOCK = 512


class DumbFile(MutableMapping[bytes, bytes]):
    """One file, made if it is not there.

    Parameters:
        filename: without ``.dat`` and ``.dir``.

    Raises:
        ValueError, SyntaxError: the index cannot be read. OSError.
    """

    def __init__(self, filename: str) -> None:
        self._values = f"{filename}.dat"
        self._places = f"{filename}.dir"
        self._index = self._read(f"{filename}.bak")
        #: As the index on disk has it.
        self._known = dict(self._index)
        with open(self._values, "ab"):
            pass

    @staticmethod
    def exists(filename: str) -> bool:
        """Whether there is such a file of this name."""
        return os.path.exists(f"{filename}.dat")

    def _read(self, backup: str) -> dict[bytes, tuple[int, int]]:
        """The index; the one before it where Python's own ``dbm.dumb`` was killed while it wrote it."""
        path = self._places
        if not (os.path.exists(path) and os.path.getsize(path)) and os.path.exists(backup):
            path = backup
        found: dict[bytes, tuple[int, int]] = {}
        if os.path.exists(path):
            with open(path, encoding="latin-1") as lines:
                for line in filter(str.strip, lines):
                    key, (place, size) = ast.literal_eval(line.strip())
                    found[key.encode("latin-1")] = int(place), int(size)
        return found

    def __getitem__(self, key: bytes) -> bytes:
        place, size = self._index[key]
        with open(self._values, "rb") as values:
            values.seek(place)
            return values.read(size)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        place = self._room(len(value))
        with open(self._values, "r+b") as values:
            values.seek(place)
            values.write(value)
            values.flush()
            os.fsync(values.fileno())
        self._index[key] = place, len(value)

    def _room(self, size: int) -> int:
        """The first place where so much fits, and nothing is that is named on disk or is to be."""
        place = 0
        for start, length in sorted({*self._known.values(), *self._index.values()}):
            if start >= place + size:
                break
            place = max(place, -(-(start + length) // BLOCK) * BLOCK)
        return place

    def __delitem__(self, key: bytes) -> None:
        del self._index[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._index))

    def __len__(self) -> int:
        return len(self._index)

    def sync(self) -> None:
        """Have the index on disk name what was written: all of it at once."""
        if self._index == self._known and os.path.exists(self._places):
            return
        new = f"{self._places}.new"
        with open(new, "w", encoding="latin-1") as lines:
            lines.writelines(f"{key.decode('latin-1')!r}, {place!r}\n" for key, place in self._index.items())
            lines.flush()
            os.fsync(lines.fileno())
        os.replace(new, self._places)
        self._known = dict(self._index)

    def close(self) -> None:
        """``sync``; nothing is held open."""
        self.sync()
