"""The kind of file without a library: one format with Python's ``dbm.dumb``, and nothing lost by a kill."""

from __future__ import annotations

import dbm.dumb
import os
import random
import shutil
from pathlib import Path

import pytest

from pyqs_celery_compat.dumb_file import DumbFile


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file")


def test_python_reads_what_is_written_here_and_the_other_way_round(path: str) -> None:
    ours = DumbFile(path)
    ours[b"entries"] = b"1" * 700
    ours["ü".encode()] = b"two"
    ours.close()
    with dbm.dumb.open(path, "c") as theirs:
        assert dict(theirs) == {b"entries": b"1" * 700, "ü".encode(): b"two"}
        theirs[b"entries"] = b"3" * 1500
        del theirs["ü".encode()]
    again = DumbFile(path)
    assert dict(again) == {b"entries": b"3" * 1500}
    assert len(again) == 1


def test_what_was_not_synced_is_not_there_and_what_was_is(path: str, tmp_path: Path) -> None:
    chance = random.Random(3)
    file, synced = DumbFile(path), dict[bytes, bytes]()
    for turn in range(300):
        key = chance.choice([b"a", b"b", b"c"])
        if chance.random() < 0.1 and key in file:
            del file[key]
        else:
            file[key] = os.urandom(chance.randrange(3000))
        killed = str(tmp_path / f"killed{turn % 2}")
        for suffix in (".dat", ".dir"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, killed + suffix)
        assert dict(DumbFile(killed)) == synced
        if chance.random() < 0.5:
            file.sync()
            synced = dict(file)
            assert dict(DumbFile(path)) == synced
        for suffix in (".dat", ".dir"):
            Path(killed + suffix).unlink(missing_ok=True)
    assert os.path.getsize(path + ".dat") < 40_000


def test_an_index_that_python_was_killed_over_is_taken_from_its_backup(path: str) -> None:
    with dbm.dumb.open(path, "c") as theirs:
        theirs[b"a"] = b"one"
    shutil.copyfile(f"{path}.dir", f"{path}.bak")
    Path(f"{path}.dir").write_bytes(b"")
    assert dict(DumbFile(path)) == {b"a": b"one"}


def test_an_index_that_is_none_is_an_error(path: str) -> None:
    Path(f"{path}.dat").write_bytes(b"x")
    Path(f"{path}.dir").write_text("__import__('os')\n")
    with pytest.raises(ValueError, match="malformed"):
        DumbFile(path)
