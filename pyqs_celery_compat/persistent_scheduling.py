"""The scheduler that beat has unless told otherwise: it remembers in a file when each entry ran last.

Owns: ``PersistentScheduler``, Celery's. Runs in beat. The file is Celery's, too (``schedule_file``), and written as soon as
nothing is due. One that cannot be read is moved aside, never removed.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pyqs_celery_compat import schedule_file, version
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.schedule_file import Unusable
from pyqs_celery_compat.scheduling import Scheduler, logger

#: Seconds between two writings while one entry after the other is due.
_PAUSE = 1.0
_KEYS = ("__version__", "tz", "utc_enabled")


class PersistentScheduler(Scheduler):
    """Keeps entries in a shelf.

    Parameters: as ``Scheduler``, and
        schedule_filename: where the shelf is; ``dbm`` may put ``.db`` or the like behind it.
    """

    #: Has ``open``, as ``shelve``.
    persistence: Any = schedule_file
    known_suffixes = schedule_file.SUFFIXES
    _store: Any = None
    _changed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename = kwargs.get("schedule_filename")
        super().__init__(*args, **kwargs)

    # -- the file -------------------------------------------------------------------------------------------------------
    def _open_schedule(self) -> Any:
        return self.persistence.open(self.schedule_filename, writeback=True)

    def _remove_db(self) -> list[str]:
        """Get the file out of the way."""
        return schedule_file.move_aside(str(self.schedule_filename))

    def _destroy_open_corrupted_schedule(self, exc: Exception) -> Any:
        """A new file in the place of one that cannot be read, which is kept under another name."""
        if self._store is not None:
            with contextlib.suppress(Exception):
                self._store.cache.clear()  # nothing of it is written any more
                self._store.close()
        moved = self._remove_db()
        logger.error(
            "beat: the schedule file %s cannot be read (%s: %s); it is kept as %s, and all entries begin anew: what was due in "
            "the meantime is not sent",
            self.schedule_filename,
            type(exc).__name__,
            exc,
            " and ".join(moved) or "nothing",
        )
        return self._open_schedule()

    def setup_schedule(self) -> None:
        """Open the file and bring it up to the app's ``beat_schedule``.

        Raises:
            ScheduleInUse: another beat has it. Unusable: it cannot be opened or written here.
        """
        try:
            self._store = self._open_schedule()
            self._look_at_entries()
        except Unusable:
            raise
        except Exception as exc:
            self._store = self._destroy_open_corrupted_schedule(exc)
        tz, utc = self.app.conf.timezone, self.app.conf.enable_utc
        if "tz" in self._store and self._store["tz"] != tz:
            logger.info("beat: the timezone was %s and is %s; what ran last, and when, stays", self._store["tz"], tz)
        self._store.setdefault("entries", {})
        super().setup_schedule()
        self._store.update({"__version__": version.CELERY, "tz": tz, "utc_enabled": utc})
        self.sync()
        for entry in self.schedule.values():
            logger.debug("beat: %r, last run at %s", entry, entry.last_run_at)

    def _look_at_entries(self) -> None:
        """Read all that is in the file. Raises whatever makes it unreadable."""
        if "entries" not in self._store:
            return
        entries = self._store["entries"]
        if not isinstance(entries, dict) or not all(isinstance(entry, self.Entry) for entry in entries.values()):
            raise ValueError("it holds no entries of a schedule")
        if missing := [key for key in _KEYS if key not in self._store]:
            raise ValueError(f"it is of an old version: it has no {missing[0]!r}")

    # -- the schedule ---------------------------------------------------------------------------------------------------
    def get_schedule(self) -> Any:
        """Name -> entry."""
        return self._store["entries"]

    def set_schedule(self, schedule: Any) -> None:
        """Replace them all."""
        self._store["entries"] = schedule

    def reserve(self, entry: Any) -> Any:
        """Note that an entry was sent."""
        self._changed = True
        return super().reserve(entry)

    def should_sync(self) -> bool:
        """As soon as something was sent, but not all the time; with ``beat_sync_every`` after so many tasks."""
        if super().should_sync():
            return True
        return self._changed and not self.sync_every_tasks and time.monotonic() - (self._last_sync or 0.0) > _PAUSE

    def rest(self) -> None:
        """Write what was sent, while nothing is due."""
        if self._changed:
            self._do_sync()
        else:
            super().rest()

    def sync(self) -> None:
        """Write the file."""
        if self._store is not None:
            self._store.sync()
            self._changed = False

    def close(self) -> None:
        """Write the file and let others have it."""
        closed = False
        try:
            super().close()
            closed = True
        finally:
            self._close_store(quiet=not closed)

    def _close_store(self, *, quiet: bool) -> None:
        if self._store is None:
            return
        try:
            self._store.close()
        except Exception:
            if not quiet:
                raise
            logger.exception("beat: the schedule file was not closed")

    @property
    def info(self) -> str:
        """Where the file is."""
        return f"    . db -> {self.schedule_filename}"


belongs_to("celery.beat", PersistentScheduler)
