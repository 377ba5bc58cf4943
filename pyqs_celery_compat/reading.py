"""What a message says, for people who look into a queue: task, arguments, times, as primitives.

Owns: ``read_message``. Runs in ``pyqs peek`` and ``pyqs dlq``, which name it by its path; pure. Looks no task up and imports
nothing that a message names. A pickle is taken apart into its instructions and never loaded, not even by the restricted reader:
whoever looks at a message must be able to rely on that.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Mapping
from typing import Any

from pyqs.errors import PyQSError, Undecodable
from pyqs_celery_compat import compression
from pyqs_celery_compat.argument_repr import argument_repr
from pyqs_celery_compat.decoding import decode_envelope
from pyqs_celery_compat.envelope import Envelope, Native, open_envelope
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.serialization import JSON, MAX_SIZE, MSGPACK, PICKLE, YAML, Accept

#: What is read; pickles are not among them.
_ACCEPT = Accept(frozenset({JSON, YAML, MSGPACK}))
#: Levels of containers of an argument that are shown.
_LEVELS = 8
#: Bytes of a pickle that are taken apart, and instructions that are listed.
PICKLE_BYTES = 64 << 10
PICKLE_LINES = 200
_LONGEST_LINE = 120
#: Bits of a number that is written out.
_NARROW = 256


def read_message(body: str, queue: str = "", limit: int = 400) -> dict[str, Any]:
    """What it says. Never raises for what a body holds.

    Parameters:
        body: as SQS handed it out.
        limit: characters of args and of kwargs.

    Returns:
        ``format``: "celery", "native" (nothing else is said then: the body is the caller's to read) or "other"; for Celery's
        what is known of ``protocol``, ``task``, ``id``, ``args``, ``kwargs`` (texts), ``content_type`` and other fields;
        ``problem`` where something cannot be read; ``pickle`` with ``names`` and ``instructions`` for a payload that is one.
    """
    try:
        opened = open_envelope(body)
    except PyQSError as exc:
        return {"format": "other", "problem": str(exc)}
    if isinstance(opened, Native):
        return {"format": "native"}
    found: dict[str, Any] = {"format": "celery", "content_type": opened.content_type}
    try:
        found |= _of_headers(opened)
        if opened.content_type == PICKLE:
            return {**found, "pickle": _taken_apart(_payload(opened))}
        return {**found, **_of_call(decode_envelope(opened, accept=_ACCEPT, queue=queue), limit)}
    except PyQSError as exc:
        return {**found, "problem": str(exc)}
    except Exception as exc:  # RecursionError, MemoryError and what nobody thought of
        return {**found, "problem": f"it cannot be read ({type(exc).__name__})"}


def _of_headers(envelope: Envelope) -> dict[str, Any]:
    """What protocol 2's headers say, whether or not the payload can be read."""
    get = envelope.headers.get
    found = {
        "protocol": 2 if "task" in envelope.headers else None,
        **{name: get(name) for name in ("task", "id", "eta", "expires", "retries", "root_id", "parent_id", "group", "origin")},
        "compression": get("compression"),
        "argsrepr": get("argsrepr"),
        "kwargsrepr": get("kwargsrepr"),
    }
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _of_call(call: CeleryCall, limit: int) -> dict[str, Any]:
    found = {
        "protocol": call.protocol,
        "task": call.task,
        "id": call.id,
        "args": argument_repr(call.args, limit, _LEVELS),
        "kwargs": argument_repr(dict(call.kwargs), limit, _LEVELS),
        "retries": call.retries,
        "eta": call.eta_wire,
        "expires": call.expires_wire,
        "root_id": call.root_id,
        "parent_id": call.parent_id,
        "group": call.group,
        "callbacks": _tasks(call.callbacks),
        "errbacks": _tasks(call.errbacks),
        "chain": _tasks(list(reversed(call.chain)) if call.chain else None),
        "chord": _tasks([call.chord] if call.chord else None),
    }
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _tasks(signatures: Any) -> list[str] | None:
    """Names of the tasks of these signatures, in the order in which they will run."""
    if not signatures:
        return None
    return [str(one.get("task")) if isinstance(one, Mapping) else "?" for one in signatures]


def _plain(value: Any) -> Any:
    """As JSON has it: text, a number, or a list of texts. A header may hold anything, however deep."""
    if isinstance(value, list):
        return [_plain_text(one) for one in value[:100]]
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < _NARROW):
        return value
    return _plain_text(value)


def _plain_text(value: Any) -> str:
    return value[:1000] if isinstance(value, str) else argument_repr(value, 1000)


def _payload(envelope: Envelope) -> bytes:
    compressed = envelope.headers.get("compression")
    if compressed is None:
        return envelope.payload
    if not isinstance(compressed, str):
        raise Undecodable("compression", "its compression header is no text")
    return compression.decompress(envelope.payload, compressed, MAX_SIZE)


def _taken_apart(payload: bytes) -> dict[str, Any]:
    """The instructions of a pickle, and the names in it that loading it would import."""
    names: list[str] = []
    lines: list[str] = []
    texts: list[str] = []
    ending, count = "", 0
    try:
        for opcode, argument, position in pickletools.genops(io.BytesIO(payload[:PICKLE_BYTES])):
            count += 1
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", ".", 1)[:200])
            elif opcode.name == "STACK_GLOBAL":  # module and name are on the stack: nearly always the last two texts
                names.append(".".join(texts[-2:])[:200] or "?")
            if isinstance(argument, str):
                texts.append(argument)
            if len(lines) < PICKLE_LINES:
                lines.append(f"{position:>6}: {opcode.name}{_shown(argument)}")
    except Exception as exc:  # pickletools raises what it likes
        ending = "cut here" if len(payload) > PICKLE_BYTES else f"no further instruction can be read ({type(exc).__name__})"
    return {
        "bytes": len(payload),
        "names": list(dict.fromkeys(names)),
        "instructions": lines,
        "left_out": count - len(lines),
        "ending": ending,
    }


def _shown(argument: Any) -> str:
    if argument is None:
        return ""
    if isinstance(argument, int) and argument.bit_length() > _NARROW:
        return f" an integer of {argument.bit_length()} bits"
    text = repr(argument[:_LONGEST_LINE] if isinstance(argument, str | bytes | bytearray) else argument)
    return " " + (text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "...")
