"""What may stand behind a queue pattern: ``email.*:weight=3:max=2``.

Owns: ``QueueOptions`` and the reading of their text. Pure; runs where the command line is read and in the parent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyqs.errors import ConfigError

#: From the least to the greatest weight the ratio is a million; beyond that nobody means a share.
LEAST_WEIGHT = 0.001
GREATEST_WEIGHT = 1000.0

# A colon is no legal character of a name, and brackets belong to a glob: what follows a colon at the end is an option.
_OPTION = re.compile(r":(?P<key>[A-Za-z_]+)=(?P<value>[^:\[\]]*)$")
_UNFINISHED = re.compile(r":(?P<key>weight|max|min)$")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")
_COUNT = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a queue shares the executors of a worker with others.

    Parameters:
        weight: its share of the executors' time while several queues have work, beside the weights of the others.
        max: most deliveries of it that run at the same time in this worker; None for no limit.
    """

    weight: float = 1.0
    max: int | None = None

    def __str__(self) -> str:
        """As it would be written behind a pattern, ``""`` when nothing differs from the defaults."""
        weight = f":weight={self.weight:.12g}" if self.weight != 1.0 else ""
        return weight + (f":max={self.max}" if self.max is not None else "")


#: A queue of which nothing was said.
PLAIN = QueueOptions()


def take_options(item: str) -> tuple[str, QueueOptions]:
    """An item of ``-Q`` taken apart: the pattern, and the options behind it.

    Raises:
        ConfigError: an option is unknown, given twice, or has a value that means nothing; says which and how.
    """
    text, given = item, dict[str, str]()
    while (found := _OPTION.search(text)) is not None:
        key = found["key"]
        if key in given:
            raise ConfigError(f"queue pattern {item!r}: {key}= is given twice")
        given[key] = found["value"]
        text = text[: found.start()]
    unfinished = _UNFINISHED.search(text)
    if unfinished is not None:
        raise ConfigError(f"queue pattern {item!r}: {unfinished['key']} needs a value, as in {unfinished['key']}=2")
    weight, most = 1.0, None
    for key, value in given.items():
        if key == "weight":
            weight = _weight(item, value)
        elif key == "max":
            most = _most(item, value)
        elif key == "min":
            raise ConfigError(
                f"queue pattern {item!r}: there is no min=; executors kept for one queue would stand idle while others have "
                "work. weight= gives a queue a share whenever it has work; max= on the others leaves executors free"
            )
        else:
            raise ConfigError(f"queue pattern {item!r}: there is no option {key!r} (weight, max)")
    return text, QueueOptions(weight, most)


def _weight(item: str, value: str) -> float:
    weight = float(value) if _NUMBER.fullmatch(value) else 0.0
    if not LEAST_WEIGHT <= weight <= GREATEST_WEIGHT:
        raise ConfigError(f"queue pattern {item!r}: weight= must be a number from 0.001 to 1000, not {value!r}")
    return weight


def _most(item: str, value: str) -> int:
    most = int(value) if _COUNT.fullmatch(value) else 0
    if most < 1:
        raise ConfigError(f"queue pattern {item!r}: max= must be a whole number from 1 to 999999, not {value!r}")
    return most
