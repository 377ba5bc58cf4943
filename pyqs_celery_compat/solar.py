"""The schedule of the sun: dawns, sunrise, noon, sunset and dusks at a place.

Owns: ``solar``. Runs in beat, and where schedules are made. ``ephem`` is imported when one is made, never before, and is not
among what the package requires.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from pyqs_celery_compat.base_schedule import BaseSchedule, schedstate
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.utils.time import maybe_make_aware, subtract_datetimes, timezone

#: By event: how high the sun stands, what ephem calls the search for it, and whether the sun's centre stands there or its rim.
EVENTS: dict[str, tuple[str, str, bool]] = {
    "dawn_astronomical": ("-18", "next_rising", True),
    "dawn_nautical": ("-12", "next_rising", True),
    "dawn_civil": ("-6", "next_rising", True),
    "sunrise": ("-0:34", "next_rising", False),
    "solar_noon": ("0", "next_transit", False),
    "sunset": ("-0:34", "next_setting", False),
    "dusk_civil": ("-6", "next_setting", True),
    "dusk_nautical": ("-12", "next_setting", True),
    "dusk_astronomical": ("-18", "next_setting", True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's public name
    """A schedule that the sun keeps.

    Parameters:
        event: one of ``EVENTS``.
        lat, lon: where, in degrees; north and east are positive.
        nowfun, app: as in ``BaseSchedule``.

    Raises:
        ValueError: there is no such event or no such place.
        ImproperlyConfigured: ephem is not installed.
    """

    _all_events: ClassVar = frozenset(EVENTS)
    _methods: ClassVar = {event: method for event, (_, method, _) in EVENTS.items()}
    _use_center_l: ClassVar = {event: centre for event, (_, _, centre) in EVENTS.items()}
    #: An event that does not come for so many days, as sunrise beyond a polar circle, is asked for again after them.
    max_search_days = 366

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        self.ephem = _ephem()
        self.event = event
        self.lat = lat
        self.lon = lon
        super().__init__(**kwargs)
        if event not in EVENTS:
            raise ValueError(f"solar: there is no event {event!r}; there are {', '.join(sorted(EVENTS))}")
        for name, value, most in (("latitude", lat, 90), ("longitude", lon, 180)):
            if not -most <= value <= most:
                raise ValueError(f"solar: the {name} {value} is not between -{most} and {most}")
        self.cal = self.ephem.Observer()
        self.cal.lat, self.cal.lon = str(lat), str(lon)
        self.cal.elev = 0
        self.cal.pressure = 0
        self.cal.horizon, self.method, self.use_center = EVENTS[event]

    def _next_event(self, start: Any) -> Any:
        """When the event comes first after a moment, both as ephem has them."""
        options = {"use_center": True} if self.use_center else {}
        for _ in range(self.max_search_days):
            try:
                return getattr(self.cal, self.method)(self.ephem.Sun(), start=start, **options)
            except self.ephem.CircumpolarError:  # not on this day: it is looked for from the next midnight of the sun's
                start = self.cal.next_antitransit(self.ephem.Sun(), start=start)
        return start

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """What is left until it is due, having run last then. Negative if it is late."""
        last = self.maybe_make_aware(last_run_at).astimezone(timezone.utc)
        when = self._next_event(self.ephem.Date(last.replace(tzinfo=None))).datetime()
        return subtract_datetimes(maybe_make_aware(when), self.maybe_make_aware(self.now()))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, having run last then, and in how many seconds to ask again."""
        left = self.remaining_estimate(last_run_at)
        if left > timedelta(0):
            return schedstate(False, left.total_seconds())
        return schedstate(True, max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.event, self.lat, self.lon)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, solar):
            return NotImplemented
        return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)


def _ephem() -> Any:
    try:
        import ephem
    except ImportError as exc:
        raise ImproperlyConfigured("solar schedules need ephem: install pyqs[solar], which celery[solar] is here") from exc
    return ephem
