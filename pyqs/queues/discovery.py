"""From patterns to queues: which of them exist, under which URL, and which a glob must leave alone.

Owns: ``discover`` and the rules of what a glob never takes (design decision 12). Runs in the parent, at start and at
each refresh, and in ``pyqs queues``. Never creates a queue, and never calls ListQueues for names alone, unless told to.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from pyqs.clock import boottime
from pyqs.errors import AccessDenied, ConfigError, QueueNotFound, SqsError
from pyqs.queues.names import FIFO, canonical_name, name_from_url
from pyqs.queues.patterns import Pattern
from pyqs.queues.queue_options import PLAIN, QueueOptions

if TYPE_CHECKING:
    from pyqs.sqs import Sqs

log = logging.getLogger(__name__)

# Conventional endings of dead-letter queues: always left alone by a glob, with or without permission to ask SQS.
_DEAD_LETTER_NAME = re.compile(r"(^|[-_])(dlq|dlx|dead[-_]?letters?([-_]?queue)?)$", re.IGNORECASE)
# Celery's own: "celery@host.celery.pidbox", "<oid>.reply.celery.pidbox", "celeryev.<uuid>", and the rpc backend's
# reply queues, whose whole name is a UUID; as written and as kombu maps them.
_BOOKKEEPING = re.compile(r"(^|[-.])pidbox$|(^|[-_.])celeryev([-.]|$)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: Most names read when near matches for a missing one are looked for.
SUGGEST_FROM = 5000
#: Seconds after which SQS is asked again whether a queue is a dead-letter queue.
RECHECK = 600.0
_PARALLEL_CHECKS = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What the patterns mean right now.

    Parameters:
        queues: SQS queue name -> URL.
        missing: each literal (as given) that does not exist -> near matches, best first.
        skipped: each queue that a glob matched and left alone -> why.
        taken_by: each queue -> the patterns that took it, in the order given; the first one's options are the queue's.
    """

    queues: Mapping[str, str]
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    taken_by: Mapping[str, tuple[Pattern, ...]] = field(default_factory=dict)

    def options(self) -> dict[str, QueueOptions]:
        """Each queue's options."""
        return {name: self.taken_by[name][0].options if self.taken_by.get(name) else PLAIN for name in self.queues}

    def overruled(self) -> dict[str, str]:
        """Each queue of which a later pattern says something else than the first -> one line about it."""
        found = {}
        for name, (first, *others) in self.taken_by.items():
            for other in others:
                if other.options not in (first.options, PLAIN):
                    found[name] = f"'{other}' does not count for it, because '{first}' is given first"
        return found


@dataclass(frozen=True, slots=True)
class _Fact:
    """What SQS said about one queue: when (boot-time seconds), whether it is a DLQ, and the name of its own DLQ."""

    at: float
    is_dead_letter: bool
    target: str | None = None


class DeadLetters:
    """Knows which queues are another queue's dead-letter queue; asks SQS once per queue and ten minutes.

    ListDeadLetterSourceQueues gives the certain answer. Where it is refused or not there, the RedrivePolicy of every
    queue at hand and a queue's own RedriveAllowPolicy are read instead; where that is refused too, only conventional
    names (``-dlq``, ``_dead_letter``, ...) protect, and that is said once.
    """

    def __init__(self, *, recheck: float = RECHECK, clock: Callable[[], float] = boottime) -> None:
        self._recheck = recheck
        self._clock = clock
        self._facts: dict[str, _Fact] = {}
        self._sources_refused = False
        self._warned = False

    def among(self, sqs: Sqs, queues: Mapping[str, str]) -> set[str]:
        """The names in ``queues`` (name -> URL) that are dead-letter queues, as far as can be known."""
        now = self._clock()
        self._facts = {url: fact for url, fact in self._facts.items() if now - fact.at < self._recheck}
        todo = [url for url in queues.values() if url not in self._facts]
        if len(todo) > 1:
            # The first alone: it finds out which way of asking is allowed before eight threads try at once.
            self._learn(sqs, todo[0], now)
            with ThreadPoolExecutor(_PARALLEL_CHECKS, thread_name_prefix="pyqs-discover") as threads:
                list(threads.map(lambda url: self._learn(sqs, url, now), todo[1:]))
        elif todo:
            self._learn(sqs, todo[0], now)
        facts = {name: self._facts.get(url) for name, url in queues.items()}
        targets = {fact.target for fact in self._facts.values()}
        return {name for name, fact in facts.items() if name in targets or (fact is not None and fact.is_dead_letter)}

    def _learn(self, sqs: Sqs, url: str, now: float) -> None:
        if not self._sources_refused:
            try:
                self._facts[url] = _Fact(now, bool(sqs.dead_letter_sources(url)))
                return
            except SqsError as exc:
                if exc.retryable:
                    raise
                if not isinstance(exc, QueueNotFound):
                    self._sources_refused = True
        try:
            attributes = sqs.queue_attributes(url, ("RedrivePolicy", "RedriveAllowPolicy"))
        except QueueNotFound:
            return  # deleted since it was listed
        except SqsError as exc:
            if exc.retryable:
                raise
            if not self._warned:
                self._warned = True
                log.warning("cannot ask which queues are dead-letter queues; only names like x-dlq are left out: %s", exc)
            self._facts[url] = _Fact(now, False)
            return
        allow = _json_object(attributes.get("RedriveAllowPolicy"))
        target = str(_json_object(attributes.get("RedrivePolicy")).get("deadLetterTargetArn", ""))
        named = allow.get("redrivePermission") == "byQueue" and bool(allow.get("sourceQueueArns"))
        self._facts[url] = _Fact(now, named, target.rpartition(":")[2] or None)


def discover(
    sqs: Sqs,
    patterns: Sequence[Pattern],
    *,
    exclude: Sequence[Pattern] = (),
    prefix_bound: str = "",
    predefined: Mapping[str, str] | None = None,
    dead_letters: DeadLetters | None = None,
    suggest: bool = False,
) -> Found:
    """Which queues the patterns mean now.

    A URL or an ARN costs no call, a literal name one GetQueueUrl, only globs list (page by page, by their literal head).

    Parameters:
        exclude: ``-X``; wins over everything.
        prefix_bound: an app's ``queue_name_prefix``: put before literals, and no glob leaves it.
        predefined: name -> URL; when given (even empty) nothing is looked up, these are all the queues there are.
        dead_letters: what is known from the last time; give the same one at each refresh.
        suggest: look for near matches of missing literals, with ListQueues where that is allowed: for whoever is about to end
            because of them.

    Raises:
        AccessDenied: a glob without permission to list, or a literal without permission to look it up.
        ConfigError: an address in another region, or two queues of one name.
        SqsError: SQS did not answer.
    """
    look = _Look(sqs, exclude, prefix_bound, predefined, dead_letters or DeadLetters())
    for pattern in patterns:
        if not pattern.is_glob:
            look.literal(pattern)
    look.globs([pattern for pattern in patterns if pattern.is_glob])
    near = look.near_matches() if suggest and look.missing else {}
    taken_by = {
        name: tuple(one for one in patterns if one in look.taken_by.get(name, ())) for name in look.queues
    }  # fmt: skip
    return Found(look.queues, {text: near.get(text, ()) for text in look.missing}, look.skipped, taken_by)


class _Look:
    """One run of ``discover``."""

    def __init__(
        self,
        sqs: Sqs,
        exclude: Sequence[Pattern],
        prefix: str,
        predefined: Mapping[str, str] | None,
        dead_letters: DeadLetters,
    ) -> None:
        self._sqs = sqs
        self._exclude = exclude
        self._prefix = prefix
        self._predefined = predefined
        self._dead_letters = dead_letters
        self.queues: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.taken_by: dict[str, set[Pattern]] = {}

    def literal(self, pattern: Pattern) -> None:
        """One name, URL or ARN."""
        url = self._sqs.locate(pattern.text) if pattern.is_address else self._lookup(pattern)
        if url is None:
            self.missing[pattern.text] = pattern.name(self._prefix)
        elif self._excluded(name_from_url(url)):
            self.skipped[name_from_url(url)] = "excluded by -X"
        else:
            self._take(url, (pattern,))

    def globs(self, globs: Sequence[Pattern]) -> None:
        """All globs at once: list, match, leave out what no glob takes."""
        candidates: dict[str, str] = {}
        takers: dict[str, list[Pattern]] = {}
        for logical, url in self._listed(globs) if globs else ():
            name = name_from_url(url)
            matching = [glob for glob in globs if glob.matches(name, self._prefix) or (logical and glob.matches(logical))]
            reason = self._left_alone(name, matching) if matching else None
            if not matching or (name in self.queues and reason):
                continue
            if reason:
                self.skipped[name] = reason
                continue
            takers[name] = matching
            if name not in self.queues:
                candidates[name] = url
        dead: set[str] = set()
        if candidates and self._predefined is None:
            dead = self._dead_letters.among(self._sqs, {**self.queues, **candidates})
        for name, matching in takers.items():
            if name not in dead:
                self._take(candidates.get(name) or self.queues[name], matching)
            elif name in candidates:
                self.skipped[name] = "the dead-letter queue of another queue; name it literally to consume it"

    def near_matches(self) -> dict[str, tuple[str, ...]]:
        """For each missing literal the most similar names; nothing where ListQueues is not allowed."""
        try:
            names = list(islice(self._all_names(), SUGGEST_FROM))
        except SqsError as exc:
            log.debug("no near matches for missing queues: %s", exc)
            return {}
        return {text: tuple(difflib.get_close_matches(name, names, n=3)) for text, name in self.missing.items()}

    def _all_names(self) -> Iterable[str]:
        if self._predefined is not None:
            return map(canonical_name, self._predefined)
        return map(name_from_url, self._sqs.list_queues(canonical_name(self._prefix)))

    def _lookup(self, pattern: Pattern) -> str | None:
        mapped = pattern.name(self._prefix)
        if self._predefined is not None:
            by_name = {canonical_name(name): url for name, url in self._predefined.items()}
            url = by_name.get(canonical_name(pattern.text)) or by_name.get(mapped)
            return self._sqs.locate(url) if url else None
        try:
            return self._sqs.queue_url(mapped)
        except QueueNotFound:
            return None
        except AccessDenied as exc:
            raise AccessDenied(f"{exc}; give the queue's URL, which needs no look-up", code=exc.code, queue=mapped) from exc

    def _listed(self, globs: Sequence[Pattern]) -> Iterable[tuple[str, str]]:
        """(logical name where one is known, URL) of each queue that could match."""
        if self._predefined is not None:
            # The app chose these one by one; its prefix does not apply to them.
            yield from ((name, self._sqs.locate(url)) for name, url in self._predefined.items())
            return
        heads = sorted({head for glob in globs for head in glob.listing_prefixes(self._prefix)})
        shortest = [head for head in heads if not any(head != other and head.startswith(other) for other in heads)]
        for head in shortest:
            try:
                yield from (("", url) for url in self._sqs.list_queues(head))
            except AccessDenied as exc:
                texts = ", ".join(repr(glob.text) for glob in globs)
                raise AccessDenied(
                    f"{texts} needs sqs:ListQueues; allow it, or give names or URLs without wildcards ({exc})", code=exc.code
                ) from exc

    def _excluded(self, name: str) -> bool:
        return any(pattern.matches(name, self._prefix) or pattern.matches(name) for pattern in self._exclude)

    def _left_alone(self, name: str, globs: Sequence[Pattern]) -> str | None:
        if self._excluded(name):
            return "excluded by -X"
        if name.endswith(FIFO) and not any(glob.text.endswith(FIFO) for glob in globs):
            return "a FIFO queue; a glob takes those only if it ends in .fifo"
        stem = name[: -len(FIFO)] if name.endswith(FIFO) else name
        bound = canonical_name(self._prefix)
        rest = stem[len(bound) :] if stem.startswith(bound) else stem
        if _BOOKKEEPING.search(rest) or _UUID.fullmatch(rest):
            return "one of Celery's own (pidbox, celeryev or reply)"
        if _DEAD_LETTER_NAME.search(stem):
            return "a dead-letter queue by its name; name it literally to consume it"
        return None

    def _take(self, url: str, patterns: Iterable[Pattern]) -> None:
        name = name_from_url(url)
        self.taken_by.setdefault(name, set()).update(patterns)
        if self.queues.setdefault(name, url) != url:
            raise ConfigError(f"two queues are called {name!r}: {self.queues[name]} and {url}; one worker takes one of them")


def _json_object(text: str | None) -> dict[str, object]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
