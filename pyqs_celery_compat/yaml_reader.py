"""Reading YAML safely: plain data only, bounded in depth and in what an alias can multiply.

Owns: the YAML loaders. Runs in an executor, on bytes of unknown origin. Needs PyYAML, which an extra installs. Never builds a
Python object other than plain data.

libyaml's composer recurses in C without a limit (100,000 opening brackets end the process), so the events, which do not
recurse, are counted first; that also bounds what a document can grow to in memory. Merge keys (``<<``) copy what they merge
and can double with each line; kombu's writer never emits them, so they are refused. Aliases are shared, not copied.
"""

from __future__ import annotations

import functools
from typing import Any

from pyqs.errors import Undecodable

#: levels of nesting; Python's own JSON reader stops near a thousand.
MAX_DEPTH = 500
#: parts of one document; libyaml's binding makes about 600 bytes of objects for each.
MAX_EVENTS = 500_000
#: characters of a number: YAML 1.1 has numbers in base 60, whose reading costs quadratic time.
_DIGITS = 4300
#: bytes that PyYAML's own parser, a hundred times slower than libyaml, is given.
_SLOW_SIZE = 2 << 20


def loads(payload: bytes) -> Any:
    """Read one YAML document.

    Raises:
        Undecodable: layer "content": PyYAML is missing, or a limit is broken.
        yaml.YAMLError, ValueError: not YAML, or not plain data; their texts may hold data.
    """
    try:
        import yaml
    except ImportError:
        raise Undecodable("content", "yaml needs a library: pip install 'pyqs[yaml]'") from None
    try:
        return _load(payload, _loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.scanner.ScannerError:
        # libyaml refuses the escape of a lone surrogate, which PyYAML writes and reads.
        if b"\\ud" not in payload.lower() or len(payload) > _SLOW_SIZE:
            raise
    return _load(payload, _loader(yaml.SafeLoader))


def _load(payload: bytes, loader: Any) -> Any:
    import yaml

    depth = 0
    for number, event in enumerate(yaml.parse(payload, Loader=loader)):
        if number > MAX_EVENTS:
            raise Undecodable("content", f"application/x-yaml: it has more than {MAX_EVENTS} parts")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Undecodable("content", "application/x-yaml: it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return yaml.load(payload, Loader=loader)


@functools.cache
def _loader(base: Any) -> Any:
    """A safe loader without merge keys and endless numbers, made once PyYAML is there."""

    class Loader(base):  # type: ignore[misc]
        def flatten_mapping(self, node: Any) -> None:
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    raise Undecodable("content", "application/x-yaml: merge keys are not read")
            super().flatten_mapping(node)

        def number(self, node: Any) -> Any:
            if len(node.value) > _DIGITS:
                raise Undecodable("content", "application/x-yaml: a number that is too long")
            return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.number)
    Loader.add_constructor("tag:yaml.org,2002:float", Loader.number)
    return Loader
