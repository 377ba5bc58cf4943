"""Chords on Redis, by Celery 5.7's keys and their meaning, so that tasks of one header may run on either side.

Owns: ``RedisChords``, a part of ``RedisBackend``. Of a group's key ``celery-taskset-meta-<id>`` there are: ``.j``, what the
header's tasks returned, in their order; ``.d``, who is in it; ``.s``, how many there are to be; ``.t``, how many have joined
since; ``.c``, who sends the body, then "done". Workers before 5.7 know ``.j``, ``.s`` and ``.t`` only: what they add counts.
Runs where ``chord_parts`` does. Every step is one script, which Redis runs alone.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pyqs_celery_compat import of_task, states
from pyqs_celery_compat.chord_parts import CLAIM, ChordParts, chord_error
from pyqs_celery_compat.exceptions import ChordError

if TYPE_CHECKING:
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.backends.redis")

#: Seconds for which a chord that is over is remembered. After them a late copy of a task finds no size, and begins nothing.
_REMEMBERED = 3600

#: KEYS: .j .t .s .d .c, the group. ARGV: the member, its result, its place or "" for a list, seconds of the chord's keys, of
#: the group's, of a claim, its token. Answers {how many have ended or -1 if it is over, how many there are to be or -1 if
#: nobody has said, whether this one claims the body}.
_COUNT = """
if redis.call('GET', KEYS[5]) == 'done' then
  return {-1, -1, 0}
end
if redis.call('SADD', KEYS[4], ARGV[1]) == 1 then
  if ARGV[3] == '' then
    redis.call('RPUSH', KEYS[1], ARGV[2])
  else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
  end
end
local ended = ARGV[3] == '' and redis.call('LLEN', KEYS[1]) or redis.call('ZCARD', KEYS[1])
local keep, keep_group = tonumber(ARGV[4]), tonumber(ARGV[5])
if keep > 0 then
  for number = 1, 4 do
    redis.call('EXPIRE', KEYS[number], keep)
  end
  if keep_group > 0 then
    redis.call('EXPIRE', KEYS[6], keep_group)
  end
end
local size = redis.call('GET', KEYS[3])
if not size then
  return {ended, -1, 0}
end
local wanted = tonumber(size) + tonumber(redis.call('GET', KEYS[2]) or 0)
local mine = 0
if ended >= wanted and redis.call('SET', KEYS[5], ARGV[7], 'NX', 'EX', ARGV[6]) then
  mine = 1
end
return {ended, wanted, mine}
"""
#: KEYS: .c .j .t .s .d. ARGV: the claim's token, seconds to remember. The body is sent: answers 1 if the claim still held.
_OVER = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
"""
#: KEYS: .c .s. ARGV: token, seconds. Holds the claim for longer, or again if nobody took it; answers 1 if it is held.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
if not holder and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1
end
return 0
"""


class RedisChords(ChordParts):
    """What a Redis backend does for chords."""

    if TYPE_CHECKING:
        client: Any
        chord_expires: Any

        def get_key_for_group(self, group_id: str, key: str = "") -> str:
            """The backend's."""

        def ensure(self, fun: Any, args: Any = ()) -> Any:
            """The backend's."""

        def encode(self, data: Any) -> bytes | str:
            """The backend's."""

        def decode(self, payload: Any) -> Any:
            """The backend's."""

        def encode_result(self, result: Any, state: str) -> Any:
            """The backend's."""

        def exception_to_python(self, exc: Any) -> Any:
            """The backend's."""

    # -- beginning --------------------------------------------------------------------------------------------------
    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """So many are waited for. A frozen chord that is called again is another run of it: its end is forgotten."""
        self.ensure(self.client.delete, (self.get_key_for_group(group_id, ".c"),))
        self._set(self.get_key_for_group(group_id, ".s"), chord_size)

    def apply_chord(self, header_result_args: tuple[Any, ...], body: Any, **kwargs: Any) -> None:
        """Only of a header with groups in it something is kept: how its results lie in one another."""
        header_result = self.app.GroupResult(*header_result_args)
        if any(hasattr(result, "results") for result in header_result.results):
            self._set(self.get_key_for_group(header_result.id), self.encode({"result": header_result.as_tuple()}))

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """A task joins a chord that runs."""
        self.client.incr(self.get_key_for_group(chord_id, ".t"), 1)

    def _set(self, key: str, value: Any) -> None:
        keep = self.chord_expires
        self.ensure(lambda: self.client.set(key, value, ex=int(keep) if keep else None))

    # -- counting ---------------------------------------------------------------------------------------------------
    def on_chord_part_return(self, request: Context, state: str, result: Any, **kwargs: Any) -> None:
        """One task of a chord's header has ended."""
        if not request.group or not request.id:
            return
        with of_task.directly():
            token = uuid4().hex
            seen: list[int] = []

            def claim() -> bool | None:
                ended, wanted, mine = seen[:] = self._count(request, state, result, token)
                return None if ended == -1 or wanted == -1 or ended < wanted else bool(mine)

            if self._wait_for_claim(claim):
                self._finish(str(request.group), token, self._body(request.chord), request)

    def _count(self, request: Context, state: str, result: Any, token: str) -> list[int]:
        kept = self.encode([1, request.id, state, self.encode_result(result, state)])
        index = "+inf" if request.group_index is None else str(request.group_index)
        keep, keep_group = int(self.chord_expires or 0), int(max(self.chord_expires or 0, self.expires or 0))
        keys = [self._key(request.group, ending) for ending in (".j", ".t", ".s", ".d", ".c", "")]
        arguments = [f"{request.id}:{index}", kept, index if self._ordered else "", keep, keep_group, int(CLAIM), token]
        found: list[int] = self.ensure(lambda: self._scripts["count"](keys=keys, args=arguments))
        return found

    # -- the body -----------------------------------------------------------------------------------------------------
    def _finish(self, group_id: str, token: str, callback: Any, request: Context) -> None:
        try:
            values = self._values(group_id)
        except Exception as exc:
            logger.exception("Chord %r raised: %r", group_id, exc)
            error = exc if isinstance(exc, ChordError) else chord_error(f"Join error: {exc!r}", exc)
            self.chord_error_from_stack(callback, error)
        else:
            if not self._scripts["hold"](keys=[self._key(group_id, ".c"), self._key(group_id, ".s")], args=[token, int(CLAIM)]):
                logger.warning(
                    "Chord callback for %r is not sent from here: the claim has ended and another one has it", group_id
                )
                return
            self.send_chord_body(group_id, callback, values, request)
        keys = [self._key(group_id, ending) for ending in (".c", ".j", ".t", ".s", ".d")]
        self.ensure(lambda: self._scripts["over"](keys=keys, args=[token, _REMEMBERED]))

    def _values(self, group_id: str) -> list[Any]:
        """What the header's tasks returned; ChordError if one of them failed."""
        from pyqs_celery_compat.result import allow_join_result

        key = self._key(group_id, ".j")
        read = self.client.zrange if self._ordered else self.client.lrange
        parts = [self.decode(part) for part in self.ensure(read, (key, 0, -1))]
        for _, task_id, state, value in parts:
            if state in states.PROPAGATE_STATES:
                raised = self.exception_to_python(value)
                raise chord_error(f"Dependency {task_id} raised {raised!r}", raised)
        header = self.app.GroupResult.restore(group_id, backend=self)
        if header is None:
            return [value for _, _, _, value in parts]
        # What has been counted is not asked for again: of a task that was retried its own result may be gone, as Celery writes
        # RETRY when the next run is on its way already, and perhaps over its SUCCESS.
        counted = {task_id: value for _, task_id, _, value in parts}
        if counted.keys() >= _ids(header):
            return _in_shape(header, counted)
        with allow_join_result():
            join = header.join_native if header.supports_native_join else header.join
            values: list[Any] = join(timeout=self.app.conf.result_chord_join_timeout, propagate=True)
        return values

    def _key(self, group_id: Any, ending: str) -> str:
        return self.get_key_for_group(group_id, ending)

    @property
    def _ordered(self) -> bool:
        return bool((self.app.conf.result_backend_transport_options or {}).get("result_chord_ordered", True))

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        register = self.client.register_script
        return {"count": register(_COUNT), "over": register(_OVER), "hold": register(_HOLD)}


def _ids(header: Any) -> set[str]:
    """Of the tasks in a set, and in those in it."""
    return {found for one in header.results for found in (_ids(one) if hasattr(one, "results") else {one.id})}


def _in_shape(header: Any, values: dict[str, Any]) -> list[Any]:
    """The tasks' values as their results lie in one another."""
    return [_in_shape(one, values) if hasattr(one, "results") else values[one.id] for one in header.results]
