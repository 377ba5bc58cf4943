"""Content types: what is accepted, and turning payloads into values and back.

Owns: ``Accept`` and the readers and writers of json, yaml, msgpack and pickle. Runs in the producer (writing) and in an
executor (reading). Never reads a content type that is not accepted, and never asks kombu's registry for one either.

A reader's error becomes ``Undecodable`` with layer "content"; its text names the kind of error, never the data.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from pyqs.errors import ConfigError, NotSerializable, PyQSError, Refused, Undecodable
from pyqs.value import value
from pyqs_celery_compat import compression, typed_json
from pyqs_celery_compat.pickle_atoms import MalformedPickle

JSON, YAML, MSGPACK = "application/json", "application/x-yaml", "application/x-msgpack"
PICKLE = "application/x-python-serialize"
TEXT, TEXT_OLD, DATA = "text/plain", "application/text", "application/data"

#: serializer name, as in Celery's settings and ``--accept`` -> content type.
CONTENT_TYPES = {"json": JSON, "yaml": YAML, "msgpack": MSGPACK, "pickle": PICKLE, "pickle-safe": PICKLE}
_NAMES = {JSON: "json", YAML: "yaml", MSGPACK: "msgpack", PICKLE: "pickle"}
#: bytes that one payload may have after decompression. SQS takes 1 MiB, of which two layers of base64 leave 0.56 MiB to a
#: compressed payload: honest data of more than 16 MiB would have to shrink thirtyfold.
MAX_SIZE = 16 << 20
#: bytes below which nothing is counted: so small a payload cannot do harm, and no uncompressed one is larger.
_LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Accept:
    """What may be read.

    Parameters:
        content_types: MIME types.
        pickle_full: True reads any pickle, code execution included; False only plain data (if pickles are read at all).
        pickle_allow: fnmatch patterns of classes that a pickle may name on top of plain data.
        max_size: bytes that one payload may have after decompression; the numbers of values and of containers in a payload are
            bounded in proportion.
    """

    content_types: frozenset[str]
    pickle_full: bool = False
    pickle_allow: tuple[str, ...] = ()
    max_size: int = MAX_SIZE

    @classmethod
    def default(cls, pickle_allow: Iterable[str] = ()) -> Accept:
        """What is read without an app: json, yaml, msgpack and pickles of plain data. Nothing of it can run code."""
        return cls(frozenset(_NAMES), pickle_allow=tuple(pickle_allow))

    @classmethod
    def from_names(cls, names: Iterable[str], pickle_allow: Iterable[str] = ()) -> Accept:
        """Acceptance from names, as in ``accept_content`` and ``--accept``.

        Parameters:
            names: json, yaml, msgpack, pickle-safe, pickle (everything), a MIME type, or a name that the app registered
                with kombu.

        Raises:
            ConfigError: a name that nobody knows.
        """
        types: set[str] = set()
        full = False
        for name in names:
            full = full or name in ("pickle", PICKLE)
            types.add(name if "/" in name else CONTENT_TYPES.get(name) or _registered(name))
        return cls(frozenset(types), pickle_full=full, pickle_allow=tuple(pickle_allow))

    @property
    def max_values(self) -> int:
        """Values that a payload may hold: a number takes two bytes in it and thirty in memory."""
        return self.max_size // 8

    @property
    def max_containers(self) -> int:
        """Lists and dicts that a payload may hold: an empty one takes two bytes in it and sixty in memory."""
        return self.max_size // 32

    def with_max_size(self, max_size: int) -> Accept:
        """The same with another size limit (bytes)."""
        return replace(self, max_size=max_size)

    def names(self) -> tuple[str, ...]:
        """The names for ``--accept`` that mean this."""
        kinds = {_NAMES.get(kind, kind) for kind in self.content_types}
        if not self.pickle_full and "pickle" in kinds:
            kinds = (kinds - {"pickle"}) | {"pickle-safe"}
        return tuple(sorted(kinds))


@value
class Serialized:
    """A payload and what an envelope says about it."""

    payload: bytes = field(repr=False)
    content_type: str
    content_encoding: str
    compression: str | None = None


def loads(payload: bytes, content_type: str, content_encoding: str, compressed: str | None, accept: Accept) -> Any:
    """Turn a payload into a value.

    Parameters:
        compressed: value of the ``compression`` header, None if it has none.
        accept: what may be read; checked before anything else.

    Raises:
        Refused: the content type, or a name in a pickle, is not accepted; the text says what would accept it.
        Undecodable: layer "compression" or "content".
        MemoryError: there is not enough to read it.
    """
    if content_type not in accept.content_types:
        raise Refused(content_type, _hint(content_type, accept))
    if compressed:
        payload = compression.decompress(payload, compressed, accept.max_size)
    elif len(payload) > accept.max_size:
        raise Undecodable("content", f"a payload of {len(payload)} bytes, over the limit of {accept.max_size} (--max-payload)")
    try:
        reader = _READERS.get(content_type)
        if reader is None:
            return _read_registered(payload, content_type, content_encoding)
        return reader(payload, accept)
    except (PyQSError, MemoryError):  # short of memory it is this process that cannot read, whatever the message is worth
        raise
    except (Exception, SystemExit) as error:
        raise Undecodable("content", f"{content_type}: {_reason(error)}") from None


def dumps(value: Any, serializer: str = "json", compress: str | None = None) -> Serialized:
    """Turn a value into a payload, as kombu does.

    Parameters:
        serializer: json, yaml, msgpack, pickle, or a name that the app registered with kombu.
        compress: name or MIME type of a compression, None for none.

    Raises:
        NotSerializable: the format has no place for a value.
        ConfigError: an unknown serializer or compression, or a library that is not installed.
    """
    try:
        writer = _WRITERS.get(serializer)
        if writer is None:
            content_type, encoding, payload = _write_registered(value, serializer)
        else:
            content_type, encoding, payload = writer(value)
    except PyQSError:
        raise
    except Exception as error:  # a value's own __json__ or __reduce__ may raise anything
        raise NotSerializable(f"an argument cannot be written as {serializer}: {type(error).__name__}: {error}") from error
    if not compress:
        return Serialized(payload, content_type, encoding)
    payload, kind = compression.compress(payload, compress)
    return Serialized(payload, content_type, encoding, kind)


def _hint(content_type: str, accept: Accept) -> str:
    """Which ``--accept`` would read it."""
    now = ",".join(accept.names())
    if content_type == PICKLE:
        both = (",".join([now, "pickle-safe"]).strip(","), ",".join([now, "pickle"]).strip(","))
        return f"--accept {both[0]} would read it if it holds plain data only, --accept {both[1]} in any case"
    if content_type in (TEXT, TEXT_OLD, DATA, ""):
        return "no task has it"
    return f"--accept {','.join([now, _NAMES.get(content_type, content_type[:80])]).strip(',')} would read it"


def _reason(error: BaseException) -> str:
    """What went wrong, without a piece of the payload."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeError):
        return "it is not valid text in its encoding"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MalformedPickle):
        return str(error)
    return f"it cannot be read ({type(error).__name__})"


def _kombu_registry() -> Any:
    from kombu.serialization import registry

    return registry


def _registered(name: str) -> str:
    """Content type of a serializer that the app registered with kombu."""
    kind = _kombu_registry().name_to_type.get(name)
    if not isinstance(kind, str):
        raise ConfigError(f"unknown content type {name!r}; known: {', '.join(CONTENT_TYPES)}, or what kombu has registered")
    return kind


def _read_registered(payload: bytes, content_type: str, content_encoding: str) -> Any:
    """A format that the app registered with kombu; kombu itself checks again that only this one is read."""
    registry = _kombu_registry()
    if content_type not in registry.type_to_name:
        raise Undecodable("content", f"no reader is registered for {content_type[:80]!r}")
    return registry.loads(payload, content_type, content_encoding, accept={content_type})


def _write_registered(value: Any, serializer: str) -> tuple[str, str, bytes]:
    registry = _kombu_registry()
    if serializer not in registry.name_to_type:
        raise _not_installed_class()(
            f"unknown serializer {serializer!r}; known: json, yaml, msgpack, pickle, or what kombu has registered"
        )
    content_type, encoding, payload = registry.dumps(value, serializer)
    return content_type, encoding, payload.encode("utf-8") if isinstance(payload, str) else payload


def _read_json(payload: bytes, accept: Accept) -> Any:
    if len(payload) > _LARGE:
        # Counted in texts, too, where it is only a comma: the limit is far above what ordinary data has.
        if payload.count(b"[") + payload.count(b"{") > accept.max_containers:
            raise _too_many(JSON, accept.max_containers, "lists and objects")
        if payload.count(b",") > accept.max_values:
            raise _too_many(JSON, accept.max_values, "values")
    return typed_json.loads(payload.decode("utf-8"))


def _too_many(kind: str, limit: int, what: str) -> Undecodable:
    return Undecodable("content", f"{kind}: it has more than {limit} {what} (--max-payload)")


def _write_json(value: Any) -> tuple[str, str, bytes]:
    return JSON, "utf-8", typed_json.dumps(value).encode("ascii")


def _read_yaml(payload: bytes, accept: Accept) -> Any:
    from pyqs_celery_compat import yaml_reader

    return yaml_reader.loads(payload)


def _write_yaml(value: Any) -> tuple[str, str, bytes]:
    try:
        import yaml
    except ImportError:
        raise ConfigError("yaml needs a library: pip install 'pyqs[yaml]'") from None

    class Dumper(yaml.SafeDumper):
        """The safe dumper, which also writes signatures: dicts of a class of ours."""

    Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
    text: str = yaml.dump(value, Dumper=Dumper)
    return YAML, "utf-8", text.encode("utf-8")


def _text_keys(value: dict[Any, Any]) -> dict[Any, Any]:
    """Python 2 writes its plain strings as bin; as keys they must be text to name an argument or an option."""
    for key in value:
        if type(key) is bytes:
            break
    else:
        return value
    return {_as_text(key) if type(key) is bytes and _as_text(key) not in value else key: part for key, part in value.items()}


def _as_text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _read_msgpack(payload: bytes, accept: Accept) -> Any:
    try:
        import msgpack
    except ImportError:
        raise Undecodable("content", "msgpack needs a library: pip install 'pyqs[msgpack]'") from None
    # kombu writes int keys but, with its reader's strict_map_key, cannot read them.
    if len(payload) <= _LARGE:
        return msgpack.unpackb(payload, raw=False, strict_map_key=False, object_hook=_text_keys)
    containers, values = itertools.count(), 0

    def counted(value: Any) -> Any:
        nonlocal values
        values += len(value)
        if values > accept.max_values:
            raise _too_many(MSGPACK, accept.max_values, "values")
        if next(containers) > accept.max_containers:
            raise _too_many(MSGPACK, accept.max_containers, "arrays and maps")
        return _text_keys(value) if type(value) is dict else value

    def extension(code: int, data: bytes) -> Any:
        if next(containers) > accept.max_containers:
            raise _too_many(MSGPACK, accept.max_containers, "arrays, maps and extensions")
        return msgpack.ExtType(code, data)

    try:
        return msgpack.unpackb(
            payload, raw=False, strict_map_key=False, object_hook=counted, list_hook=counted, ext_hook=extension,
            max_array_len=accept.max_values, max_map_len=accept.max_values,
        )  # fmt: skip
    except ValueError as error:
        if "exceeds max_" in str(error):
            raise _too_many(MSGPACK, accept.max_values, "values") from None
        raise


def _write_msgpack(value: Any) -> tuple[str, str, bytes]:
    try:
        import msgpack
    except ImportError:
        raise ConfigError("msgpack needs a library: pip install 'pyqs[msgpack]'") from None
    payload: bytes = msgpack.packb(value, use_bin_type=True)
    return MSGPACK, "binary", payload


def _read_pickle(payload: bytes, accept: Accept) -> Any:
    from pyqs_celery_compat import pickles
    from pyqs_celery_compat.pickle_names import ForbiddenName

    if accept.pickle_full:
        return pickles.loads_full(payload)
    try:
        return pickles.loads_safe(payload, accept.pickle_allow)
    except ForbiddenName as error:
        full = ascii(f"{error.module}.{error.name}"[:120])[1:-1]
        if "." in error.name or pickles.is_dangerous(error.module):
            hint = f"its pickle names {full}, which is no plain data; only --accept pickle (anything at all) would read it"
        else:
            hint = f"its pickle names {full}; --pickle-allow '{full}' or --accept pickle would read it"
        raise Refused(PICKLE, hint) from None


def _write_pickle(value: Any) -> tuple[str, str, bytes]:
    from pyqs_celery_compat import pickles

    return PICKLE, "binary", pickles.dumps(value)


_READERS: dict[str, Callable[[bytes, Accept], Any]] = {
    JSON: _read_json,
    YAML: _read_yaml,
    MSGPACK: _read_msgpack,
    PICKLE: _read_pickle,
}
_WRITERS: dict[str, Callable[[Any], tuple[str, str, bytes]]] = {
    "json": _write_json,
    "yaml": _write_yaml,
    "msgpack": _write_msgpack,
    "pickle": _write_pickle,
}


@cache
def _not_installed_class() -> type[ConfigError]:
    """A ConfigError that those who catch kombu's SerializerNotInstalled catch."""
    from kombu.exceptions import SerializerNotInstalled

    said = {"__module__": "kombu.exceptions", "__reduce__": lambda self: (SerializerNotInstalled, self.args)}
    return type("SerializerNotInstalled", (ConfigError, SerializerNotInstalled), said)


@cache
def _encode_error_class() -> type[NotSerializable]:
    from kombu.exceptions import EncodeError

    # A pickle names it by kombu's name, which is that of the class it comes from: so that is what is pickled.
    said = {"__module__": "kombu.exceptions", "__reduce__": lambda self: (EncodeError, self.args)}
    return type("EncodeError", (NotSerializable, EncodeError), said)


def encode_error(exc: NotSerializable) -> Exception:
    """The same as an error that those who catch kombu's EncodeError catch."""
    return _encode_error_class()(str(exc))
