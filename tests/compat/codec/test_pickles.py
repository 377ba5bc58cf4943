"""What the three levels of pickle trust read: plain data of both Pythons, allowed classes, everything."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import pickle
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.errors import Refused, Undecodable
from pyqs_celery_compat import pickles
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.pickle_rules import UnknownException
from pyqs_celery_compat.serialization import Accept

UTC = dt.timezone.utc
SHARED = ["shared"]

PLAIN: list[Any] = [
    None, True, 0, -1, 255, 65536, -(2**31), 2**70, -(2**70), 1.5, float("inf"), "", "é☃\ud800", "x" * 300, b"", b"\xff" * 300,
    [], [1, [2, [3]]], (), (1,), (1, 2, 3, 4), {}, {"a": {1: (2,)}}, set(), {1, "a", (1, 2)}, frozenset({1, frozenset({2})}),
    bytearray(b"ab"), bytearray(), 1 + 2j, range(1, 9, 2), slice(1, None, 2), ..., NotImplemented, [SHARED, SHARED],
    dt.datetime(2031, 5, 17, 13, 14, 15, 123456), dt.datetime(2031, 5, 17, tzinfo=UTC), dt.datetime(2020, 1, 1, fold=1),
    dt.datetime(2031, 5, 17, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")),
    dt.datetime(2031, 5, 17, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dt.date(2031, 5, 17), dt.time(1, 2, 3, 4), dt.time(1, tzinfo=UTC, fold=1), dt.timedelta(-1, 2, 3), decimal.Decimal("1.50"),
    decimal.Decimal("1e999999"), fractions.Fraction(1, 3), uuid.UUID(int=2**127 + 5), collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, {"a": [1]}), collections.defaultdict(None, {}), collections.Counter("abca"),
    collections.deque([1, 2], maxlen=5), {uuid.UUID(int=1): decimal.Decimal(1)}, int, list, collections.OrderedDict,
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=[f"{number}-{type(value).__name__}" for number, value in enumerate(PLAIN)])
def test_plain_data_of_every_protocol_comes_back(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    found = pickles.loads_safe(data)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(pickle.loads(data))  # noqa: S301 - protocols below 4 have no place for fold


def test_shared_and_circular_parts_stay_shared() -> None:
    value: dict[str, Any] = {"a": SHARED, "b": SHARED}
    value["self"] = value
    found = pickles.loads_safe(pickle.dumps(value))
    assert found["a"] is found["b"]
    assert found["self"] is found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_exceptions_come_back(protocol: int) -> None:
    error = OSError(2, "gone", "file")
    error.context = {"n": 1}  # type: ignore[attr-defined]
    found = pickles.loads_safe(pickle.dumps([error, ValueError("boom", 1), KeyError("k")], protocol))
    assert [type(one) for one in found] == [FileNotFoundError, ValueError, KeyError]
    assert found[0].filename == "file"
    assert found[0].context == {"n": 1}
    assert found[1].args == ("boom", 1)


def test_a_foreign_exception_is_carried_by_name_and_never_imported() -> None:
    found = pickles.loads_safe(b"\x80\x02cmyapp.errors\nOutOfStock\nX\x03\x00\x00\x00abcK\x05\x86R}X\x01\x00\x00\x00nK\x01sb.")
    assert isinstance(found, UnknownException)
    assert (found.name, found.args, found.state) == ("myapp.errors.OutOfStock", ("abc", 5), {"n": 1})
    assert repr(found) == "myapp.errors.OutOfStock('abc', 5)"
    assert "myapp" not in sys.modules


PYTHON2: dict[str, tuple[bytes, Any]] = {
    "naive datetime": (
        b"cdatetime\ndatetime\nq\x01U\n\x07\xef\x05\x11\r\x0e\x0f\x01\xe2@q\x02\x85q\x03Rq\x04",
        dt.datetime(2031, 5, 17, 13, 14, 15, 123456),
    ),
    "date": (b"cdatetime\ndate\nU\x04\x07\xef\x05\x11\x85R", dt.date(2031, 5, 17)),
    "time": (b"cdatetime\ntime\nU\x06\r\x0e\x0f\x01\xe2@\x85R", dt.time(13, 14, 15, 123456)),
    "datetime in protocol 0": (
        b"cdatetime\ndatetime\np0\n(S'\\x07\\xef\\x05\\x11\\r\\x0e\\x0f\\x01\\xe2@'\np1\ntp2\nRp3\n",
        dt.datetime(2031, 5, 17, 13, 14, 15, 123456),
    ),
    "ascii text": (b"U\x05hello", "hello"),
    "long ascii text": (b"T\x05\x00\x00\x00hello", "hello"),
    "bytes that are no ascii": (b"U\x06h\xc3\xa9llo", "h\xc3\xa9llo"),
    "set": (b"c__builtin__\nset\n](K\x01K\x02e\x85R", {1, 2}),
    "long": (b"\x8a\x06\x00\x00\x00\x00\x00\x40", 2**46),
    "xrange": (b"c__builtin__\nxrange\nK\x01K\x05K\x02\x87R", range(1, 5, 2)),
    "bytearray": (b"c__builtin__\nbytearray\nX\x03\x00\x00\x00a\xc3\xbfU\x07latin-1\x86R", bytearray(b"a\xff")),
    "uuid": (b"cuuid\nUUID\n)\x81}U\x03int\x8a\x01\x05sb", uuid.UUID(int=5)),
    "decimal": (b"cdecimal\nDecimal\nU\x033.1\x85R", decimal.Decimal("3.1")),
    "ordered dict": (b"ccollections\nOrderedDict\n](](U\x01bK\x01e](U\x01aK\x02ee\x85R", collections.OrderedDict(b=1, a=2)),
    "fraction": (b"cfractions\nFraction\nU\x031/3\x85R", fractions.Fraction(1, 3)),
    "complex": (b"c__builtin__\ncomplex\nG?\xf0\x00\x00\x00\x00\x00\x00G@\x00\x00\x00\x00\x00\x00\x00\x86R", 1 + 2j),
    "django's safe text": (b"cdjango.utils.safestring\nSafeText\nX\x01\x00\x00\x00a\x85\x81}b", "a"),
}


@pytest.mark.parametrize("name", PYTHON2)
def test_what_python_2_pickled_is_read(name: str, pickled_call: Callable[[bytes], str]) -> None:
    opcodes, value = PYTHON2[name]
    for accept in (Accept.default(), Accept.from_names(["pickle"])):
        if "django" in name and accept.pickle_full:
            continue
        (found,) = decode(pickled_call(opcodes), accept=accept).args
        assert found == value
        assert type(found) is type(value)


def test_an_old_exception_is_read(pickled_call: Callable[[bytes], str]) -> None:
    (found,) = decode(pickled_call(b"cexceptions\nValueError\nU\x04boomK\x01\x86R"), accept=Accept.default()).args
    assert type(found) is ValueError
    assert found.args == ("boom", 1)
    (found,) = decode(pickled_call(b"cexceptions\nStandardError\nU\x04boom\x85R"), accept=Accept.default()).args
    assert type(found) is Exception


ZONES = {
    b"cpytz\n_UTC\n)R": dt.timedelta(0),
    b"cpytz\n_p\n(U\nAsia/TokyoM\x90\x7eK\x00U\x03JSTtR": dt.timedelta(hours=9),
    b"cpytz\n_p\n(U\rEurope/BerlinM \x1cM\x10\x0eU\x04CESTtR": dt.timedelta(hours=2),
    b"cpytz\n_p\n(U\nAsia/TokyoM\x00\x10K\x00U\x03odd" + b"tR": dt.timedelta(seconds=4096),
    b"cpytz\nFixedOffset\nK\x3c\x85R": dt.timedelta(hours=1),
    b"ccopy_reg\n_reconstructor\n(cdateutil.tz.tz\ntzutc\nc__builtin__\nobject\nNtR": dt.timedelta(0),
}


@pytest.mark.parametrize("with_pytz", [True, False])
@pytest.mark.parametrize("zone", ZONES)
def test_zones_of_python_2_keep_the_instant(
    zone: bytes, with_pytz: bool, pickled_call: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_pytz:
        pytest.importorskip("pytz")
    else:
        monkeypatch.setitem(sys.modules, "pytz", None)
    opcodes = b"cdatetime\ndatetime\nU\n\x07\xef\x05\x11\r\x0e\x0f\x01\xe2@" + zone + b"\x86R"
    (found,) = decode(pickled_call(opcodes), accept=Accept.default()).args
    assert found.utcoffset() == ZONES[zone]
    assert found.replace(tzinfo=None) == dt.datetime(2031, 5, 17, 13, 14, 15, 123456)


@pytest.mark.parametrize("with_pytz", [True, False])
def test_a_zone_without_an_offset_is_the_zone(with_pytz: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if with_pytz:
        pytest.importorskip("pytz")
    else:
        monkeypatch.setitem(sys.modules, "pytz", None)
    found = pickles.loads_safe(b"\x80\x02cpytz\n_p\nU\rEurope/Berlin\x85R.")
    assert str(found) == "Europe/Berlin"


def test_signatures_are_dicts_without_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "celery"]:  # another test's alias
        monkeypatch.delitem(sys.modules, name)
    payload = b"\x80\x02ccelery.canvas\nsignature\n}(X\x04\x00\x00\x00taskX\x01\x00\x00\x00tX\x04\x00\x00\x00args)u\x85R."
    for read in (pickles.loads_safe, pickles.loads_full):
        found = read(payload)
        assert type(found) is dict
        assert found == {"task": "t", "args": ()}
    assert "celery" not in sys.modules


def test_our_own_signatures_are_written_as_dicts() -> None:
    class Signature(dict[str, Any]):
        __module__ = "pyqs_celery_compat.signature"

    data = pickles.dumps([Signature(task="t", args=())])
    assert b"pyqs" not in data
    for found in (pickle.loads(data), pickles.loads_safe(data)):  # noqa: S301
        assert found == [{"task": "t", "args": ()}]
        assert type(found[0]) is dict


class Point:
    """A user's class."""

    def __init__(self, x: int) -> None:
        self.x = x


class Bag(dict[str, int]):
    """A user's dict with a constructor and a state of its own."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        return Bag, (), {"n": 1}, None, iter([("a", 1)])


class Slotted:
    """A user's class with slots."""

    __slots__ = ("x",)

    def __init__(self, x: int) -> None:
        self.x = x


def helper(x: int) -> Point:
    """A user's function, as Django's ``model_unpickle``."""
    return Point(x)


class Outer:
    class Inner:
        """A nested class."""


HERE = "codec_test_models"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Any:
    """This module's classes as those of an importable module."""
    module = type(sys)(HERE)
    for one in (Point, Bag, Slotted, Outer, helper):
        monkeypatch.setattr(one, "__module__", HERE)
        setattr(module, one.__name__, one)
    module.system = __import__("os").system  # type: ignore[attr-defined]
    module.Popen = __import__("subprocess").Popen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, HERE, module)
    return module


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_allowed_classes_are_rebuilt(models: Any, protocol: int) -> None:
    data = pickle.dumps([Point(1), Bag(), Slotted(3)] if protocol > 1 else [Point(1), Bag()], protocol)
    with pytest.raises(pickles.ForbiddenName):
        pickles.loads_safe(data)
    found = pickles.loads_safe(data, [f"{HERE}.*"])
    assert (type(found[0]), found[0].x) == (Point, 1)
    assert (type(found[1]), dict(found[1]), found[1].state) == (Bag, {"a": 1}, {"n": 1})
    assert protocol < 2 or found[2].x == 3


@pytest.mark.parametrize(
    ("pattern", "name", "read"),
    [
        ("Point", "Point", True),
        ("P*", "Point", True),
        ("B*", "Point", False),
        ("*", "helper", False),  # a function only by its full name
        ("helper", "helper", True),
        ("*", "system", False),  # imported from elsewhere
        ("*", "Popen", False),
        ("*", "Outer.Inner", False),
        ("Outer.Inner", "Outer.Inner", False),
    ],
)
def test_patterns_give_what_they_say(models: Any, pattern: str, name: str, read: bool) -> None:
    data = (
        b"\x80\x04\x8c" + bytes([len(HERE)]) + HERE.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93K\x01\x85R."
    )
    if read:
        assert pickles.loads_safe(data, [f"{HERE}.{pattern}"]).x == 1
    else:
        with pytest.raises(pickles.ForbiddenName):
            pickles.loads_safe(data, [f"{HERE}.{pattern}"])


@pytest.mark.parametrize("name", ["os.system", "posix.system", "builtins.eval", "subprocess.Popen", "importlib.import_module"])
def test_wildcards_never_reach_the_standard_library(name: str) -> None:
    module, _, function = name.rpartition(".")
    data = f"c{module}\n{function}\n(S'true'\ntR.".encode()
    for pattern in ("*", "*.*", f"{module}.*", f"{module}*", "[a-z]*"):
        with pytest.raises(pickles.ForbiddenName):
            pickles.loads_safe(data, [pattern])


def test_a_name_of_the_standard_library_written_out_is_given() -> None:
    assert pickles.loads_safe(b"cposixpath\njoin\n(S'a'\nS'b'\ntR.", ["posixpath.join"]) == "a/b"


def test_an_instance_cannot_pretend_to_be_an_allowed_function(models: Any) -> None:
    data = pickle.dumps(Point(1), 2)[:-1] + b"}(U\x0a__module__U\x11codec_test_modelsU\x0c__qualname__U\x06helperub)R."
    with pytest.raises((pickles.ForbiddenName, ValueError)):
        pickles.loads_safe(data, [f"{HERE}.Point", f"{HERE}.helper"])


def test_an_allowed_module_that_is_missing_says_so(pickled_call: Callable[[bytes], str]) -> None:
    with pytest.raises(Undecodable, match=r"myapp\.models\.User, which cannot be imported \(ModuleNotFoundError\)"):
        decode(pickled_call(b"cmyapp.models\nUser\n)R"), accept=Accept.default(["myapp.models.*"]))


def test_the_refusal_names_the_class_and_the_way_to_allow_it(pickled_call: Callable[[bytes], str]) -> None:
    with pytest.raises(Refused) as refused:
        decode(pickled_call(b"cmyapp.models\nUser\n)R"), accept=Accept.default())
    assert "myapp.models.User" in str(refused.value)
    assert "--pickle-allow 'myapp.models.User' or --accept pickle" in refused.value.hint


@pytest.mark.parametrize("level", ["safe", "full"])
def test_broken_pickles_are_undecodable_content(level: str, in_envelope: Callable[..., str]) -> None:
    accept = Accept.default() if level == "safe" else Accept.from_names(["pickle"])
    whole = pickles.dumps(((1, "a"), {"k": [1, 2]}, {}))
    for size in range(len(whole) - 1):
        with pytest.raises(Undecodable) as error:
            decode(in_envelope(whole[:size], "application/x-python-serialize"), accept=accept)
        assert error.value.layer == "content"


def test_code_that_leaves_the_interpreter_at_full_level_is_an_error(in_envelope: Callable[..., str]) -> None:
    body = in_envelope(b"csys\nexit\n)R.", "application/x-python-serialize")
    with pytest.raises(Undecodable, match="SystemExit"):
        decode(body, accept=Accept.from_names(["pickle"]))
