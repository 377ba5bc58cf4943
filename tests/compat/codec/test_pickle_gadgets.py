"""A hostile pickle runs nothing, imports nothing, and ends as a typed error."""

from __future__ import annotations

import builtins
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgets import bombs, gadgets
from pyqs.errors import Refused, Undecodable
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.serialization import Accept

CASES = [name for name, _ in (*gadgets("a file"), *bombs())]
_events: list[str] | None = None
_WATCHED = (
    "exec",
    "compile",
    "import",
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
    "marshal.",
    "pty.",
    "code.",
)


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _events is not None and event.startswith(_WATCHED):
        _events.append(f"{event} {args[:1]}")


@pytest.fixture(scope="module")
def audited() -> Callable[[Callable[[], object]], list[str]]:
    """Runs a function and gives back what the interpreter was asked to do meanwhile."""
    sys.addaudithook(_watch)

    def run(function: Callable[[], object]) -> list[str]:
        global _events
        _events = found = []
        try:
            function()
        finally:
            _events = None
        return found

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_ends_as_a_typed_error(
    case: str,
    pickled_call: Callable[[bytes], str],
    audited: Callable[[Callable[[], object]], list[str]],
    tmp_path: Path,
) -> None:
    sentinel = tmp_path / "ran"
    body = pickled_call((dict(gadgets(str(sentinel))) | dict(bombs()))[case])
    decode(pickled_call(b"cpytz\n_UTC\n)R"), accept=Accept.default())  # whatever is loaded lazily is loaded now
    modules = set(sys.modules)
    caught: list[Exception] = []

    def attack() -> None:
        try:
            decode(body, accept=Accept.default())
        except (Refused, Undecodable) as error:
            caught.append(error)

    assert audited(attack) == []
    assert len(caught) == 1, "it was read"
    assert set(sys.modules) == modules
    assert not sentinel.exists()
    assert not isinstance(caught[0], Undecodable) or caught[0].layer == "content"
    assert "touch" not in str(caught[0]), "the error's text holds data"


def test_the_audit_would_have_seen_it(
    pickled_call: Callable[[bytes], str], audited: Callable[[Callable[[], object]], list[str]], tmp_path: Path
) -> None:
    body = pickled_call(dict(gadgets(str(tmp_path / "ran")))["reduce posix.system"])
    seen = audited(lambda: decode(body, accept=Accept.from_names(["pickle"])))
    assert any(event.startswith("os.system") for event in seen)
    assert (tmp_path / "ran").exists()


def test_nothing_was_changed_in_the_classes_that_a_pickle_can_name() -> None:
    assert uuid.UUID(int=5).int == 5
    assert ValueError("x").args == ("x",)
    assert not hasattr(ValueError, "x")
    assert builtins.getattr is getattr


def test_a_nested_pickle_is_only_bytes(pickled_call: Callable[[bytes], str]) -> None:
    inner = b"cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    call = decode(pickled_call(b"C" + bytes([len(inner)]) + inner), accept=Accept.default())
    assert call.args == (inner,)


def test_a_large_memo_number_costs_nothing(pickled_call: Callable[[bytes], str]) -> None:
    assert decode(pickled_call(b"K\x07r\xff\xff\xff\x7f"), accept=Accept.default()).args == (7,)


def test_many_empty_containers_are_counted(in_envelope: Callable[..., str]) -> None:
    for opcode in (b"\x8f", b"]", b"}", b"(", b"N\x94"):
        payload = zlib.compress(b"\x80\x04((" + opcode * 3_000_000 + b"l}}t.")
        body = in_envelope(payload, "application/x-python-serialize", headers={"task": "t", "id": "i", "compression": "gzip"})
        with pytest.raises(Undecodable, match=r"more than (2000000 objects|4000000 opcodes)"):
            decode(body, accept=Accept.default())


def test_deep_nesting_without_keys_is_harmless(pickled_call: Callable[[bytes], str]) -> None:
    call = decode(pickled_call(b"]" * 100_000 + b"a" * 99_999), accept=Accept.default())
    assert isinstance(call.args[0], list)


def test_a_list_that_holds_itself_is_harmless(pickled_call: Callable[[bytes], str]) -> None:
    (value,) = decode(pickled_call(b"]q\x00h\x00a"), accept=Accept.default()).args
    assert value[0] is value


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "pip.main"])
def test_the_hint_does_not_offer_to_allow_what_runs_code(name: str, pickled_call: Callable[[bytes], str]) -> None:
    module, _, function = name.rpartition(".")
    with pytest.raises(Refused) as refused:
        decode(pickled_call(f"c{module}\n{function}\n)R".encode()), accept=Accept.default())
    assert name in refused.value.hint
    assert "--pickle-allow" not in refused.value.hint
