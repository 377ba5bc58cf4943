"""The native message: one JSON object, ``{"task": ..., "args": [...], "kwargs": {...}}``.

Owns: writing and reading that body. It is PyQS 1.0.1's format to the byte, so workers of both read each other's
messages. Pure; writing runs in the caller's process, reading only in an executor. Never runs or imports anything a
body names, never lets an error text hold a body or an argument's value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pyqs.errors import NotSerializable, Undecodable
from pyqs.message import Call, DescribedCall

_PLAIN = "None, bool, int, float, str, and lists, tuples and dicts of them"
_KEYS = (str, int, float, bool, type(None))


#: The key of what a native message says of itself: "id", "eta" (seconds since the epoch), and what its task's framework needs.
ABOUT = "pyqs"


def encode_call(
    task: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, about: Mapping[str, Any] | None = None
) -> str:
    """The body for one call.

    Everything above ``~`` and every control character is written as a ``\\u`` escape, so SQS, which refuses most
    control characters, takes whatever a string holds. As in PyQS, tuples arrive as lists, a dict's keys as strings,
    and NaN and the infinities as the words Python's own JSON reader knows.

    Parameters:
        about: under a key of its own, which PyQS ignores; without it the body is PyQS's.

    Raises:
        NotSerializable: an argument is not plain data; says which one, its type and what to do.
    """
    positional, keyword = list(args), dict(kwargs or {})
    try:
        body = {"task": task, "args": positional, "kwargs": keyword}
        return json.dumps(body if about is None else {**body, ABOUT: dict(about)})
    except (TypeError, ValueError, RecursionError, OverflowError) as exc:
        raise _not_serializable(task, positional, keyword, exc) from None


def decode_call(body: str, message_id: str = "") -> Call:
    """The call in a native body.

    ``args`` and ``kwargs`` may be missing or null; keys that are not ours are ignored, as PyQS ignores them.

    Parameters:
        message_id: SQS's MessageId; it becomes the call's id, since a native body has none.

    Raises:
        Undecodable: not JSON (layer "content"), or JSON that is no call (layer "protocol").
    """
    return call_from_payload(_load(body), message_id)


def call_from_payload(payload: object, message_id: str = "") -> Call:
    """The same from JSON that has been read already."""
    if not isinstance(payload, dict):
        raise Undecodable("protocol", f"a native message is a JSON object, this is {_json_type(payload)}")
    task = payload.get("task")
    if not isinstance(task, str) or not task:
        raise Undecodable("protocol", "a native message names its task in 'task'" + _keys_found(payload))
    args = payload.get("args")
    if args is not None and not isinstance(args, list):
        raise Undecodable("protocol", f"'args' is {_json_type(args)}, not a list")
    kwargs = payload.get("kwargs")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise Undecodable("protocol", f"'kwargs' is {_json_type(kwargs)}, not an object")
    about = payload.get(ABOUT)
    if about is None:
        return Call(task=task, args=tuple(args or ()), kwargs=kwargs or {}, id=message_id)
    call_id, eta = _described(about)
    return DescribedCall(
        task=task,
        args=tuple(args or ()),
        kwargs=kwargs or {},
        id=call_id or message_id,
        eta=eta,
        about=cast("dict[str, Any]", about),
    )


def _described(about: object) -> tuple[str | None, float | None]:
    """Its own id and its time."""
    if not isinstance(about, dict):
        raise Undecodable("protocol", f"{ABOUT!r} is {_json_type(about)}, not an object")
    call_id, eta = about.get("id"), about.get("eta")
    if call_id is not None and not (isinstance(call_id, str) and call_id):
        raise Undecodable("protocol", f"the 'id' in {ABOUT!r} is {_json_type(call_id)}, not a text")
    if eta is not None and (isinstance(eta, bool) or not isinstance(eta, (int, float)) or not -math.inf < eta < math.inf):
        raise Undecodable("protocol", f"the 'eta' in {ABOUT!r} is not a number of seconds")
    return call_id, eta


def _load(body: str) -> object:
    try:
        return json.loads(body)
    except RecursionError:
        raise Undecodable("content", "JSON nested too deeply") from None
    except json.JSONDecodeError as exc:
        # Not str(exc.doc): the text would hold the body.
        raise Undecodable("content", f"not JSON ({exc.msg} at character {exc.pos})") from None
    except ValueError:
        # CPython refuses integers of more than 4300 digits.
        raise Undecodable("content", "a number too long to read") from None


def _not_serializable(task: str, args: list[Any], kwargs: dict[str, Any], cause: Exception) -> NotSerializable:
    places = [(f"positional argument {number}", value) for number, value in enumerate(args, 1)]
    places += [(f"keyword argument {key!r}", value) for key, value in kwargs.items()]
    for place, value in places:
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError, OverflowError) as exc:
            where, what = _culprit(value, "", frozenset(), exc)
            where = f"{place}, at {where}," if where else place
            return NotSerializable(
                f"{task}: {where} {what} and cannot be written as JSON; "
                f"a native task takes {_PLAIN}: pass an id or a plain form of it and rebuild it in the task"
            )
    return NotSerializable(f"{task}: the arguments cannot be written as JSON ({type(cause).__name__})")


def _culprit(value: Any, path: str, parents: frozenset[int], error: Exception) -> tuple[str, str]:
    """Where inside an argument the first value is that does not fit, and what is wrong with it."""
    if id(value) in parents:
        return path, "contains itself"
    if len(parents) > 50:
        return path, "is nested too deeply"
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, _KEYS):
                return path, f"has a key of type {_type_name(key)}"
        children = [(f"{path}[{key!r:.40}]", child) for key, child in value.items()]
    elif isinstance(value, (list, tuple)):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    elif value is None or isinstance(value, (str, float, bool)):
        return path, f"is of type {_type_name(value)}"
    elif isinstance(value, int):
        return path, "is an integer of too many digits"
    else:
        return path, f"is of type {_type_name(value)}"
    for child_path, child in children:
        try:
            json.dumps(child)
        except (TypeError, ValueError, RecursionError, OverflowError) as exc:
            return _culprit(child, child_path, parents | {id(value)}, exc)
    return path, f"is not plain data ({type(error).__name__})"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _keys_found(payload: dict[str, Any]) -> str:
    """Which keys there are instead: the first thing a reader of the log wants to know."""
    keys = ", ".join(repr(key[:30]) for key in list(payload)[:5])
    return f"; this one has {keys}" if keys else "; this one is empty"
