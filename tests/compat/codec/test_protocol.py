"""From envelope and payload to a call: both protocols, what lies between them, and what is no task."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.errors import Undecodable
from pyqs.message import Call
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.serialization import JSON, MSGPACK, Accept

V1: dict[str, Any] = {"task": "spec.add", "id": "id-1", "args": [1], "kwargs": {"k": 2}}


@pytest.fixture
def read(in_envelope: Any) -> Any:
    def read(payload: Any, headers: dict[str, Any] | None = None, **changes: Any) -> CeleryCall:
        return decode(
            in_envelope(json.dumps(payload).encode(), JSON, headers=headers, **changes), accept=Accept.default(), queue="q"
        )

    return read


def test_protocol_1_with_nothing_but_a_task(read: Any) -> None:
    call = read({"task": "spec.add", "id": "i"}, {})
    assert (call.task, call.id, call.args, call.kwargs, call.protocol, call.queue) == ("spec.add", "i", (), {}, 1, "q")
    assert (call.eta, call.expires, call.timelimit, call.group, call.retries) == (None, None, (None, None), None, 0)
    assert isinstance(call, Call)


def test_protocol_1_with_everything(read: Any) -> None:
    call = read(
        {**V1, "taskset": "g", "timelimit": [10, 5], "retries": 3, "callbacks": [{"task": "c"}], "errbacks": {"task": "e"},
         "chord": {"task": "b"}, "eta": "2031-05-17T13:14:15+09:00", "expires": "2031-05-17T13:14:15"},
        {"x": 1}, properties={"delivery_info": {"priority": 3, "routing_key": "r"}, "reply_to": "r", "body_encoding": "base64"},
    )  # fmt: skip
    assert (call.group, call.timelimit, call.retries, call.priority, call.reply_to) == ("g", (10, 5), 3, 3, "r")
    assert (call.callbacks, call.errbacks, call.chord) == ([{"task": "c"}], [{"task": "e"}], {"task": "b"})
    assert call.expires - call.eta == 9 * 3600
    assert call.headers == {"x": 1}
    assert call.delivery_info["routing_key"] == "r"


def test_a_hybrid_takes_the_dict_first_and_the_headers_for_the_rest(read: Any) -> None:
    call = read(
        {**V1, "retries": 2}, {"task": "other", "id": "other", "root_id": "r", "group": "g", "retries": 1, "shadow": "s"}
    )
    assert (call.task, call.id, call.retries, call.root_id, call.group, call.shadow) == ("spec.add", "id-1", 2, "r", "g", "s")
    assert (call.args, call.kwargs, call.protocol) == ((1,), {"k": 2}, 2)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    os.environ.pop("TZ")
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_naive_time_is_utc_but_local_where_protocol_1_says_so(read: Any) -> None:
    naive, utc, aware = "2031-05-17T09:00:00", "2031-05-17T09:00:00Z", "2031-05-17T09:00:00+09:00"
    assert read({**V1, "eta": naive}, {}).eta == read({**V1, "eta": utc}, {}).eta
    assert read({**V1, "eta": naive, "utc": False}, {}).eta == read({**V1, "eta": aware}, {}).eta
    assert read([[], {}, {}], {"task": "t", "id": "i", "eta": naive}).eta == read({**V1, "eta": utc}, {}).eta
    assert read({**V1, "eta": aware, "utc": False}, {}).eta == read({**V1, "eta": aware}, {}).eta


def test_ids_that_are_no_text_become_text(read: Any) -> None:
    call = read([[], {}, None], {"task": "t", "id": {"__type__": "uuid", "__value__": {"hex": "0" * 31 + "5"}}, "root_id": 7})
    assert (call.id, call.root_id) == ("00000000-0000-0000-0000-000000000005", "7")


def test_protocol_fields_that_python_2_wrote_as_bytes_are_text(in_envelope: Any) -> None:
    msgpack = pytest.importorskip("msgpack")
    payload = {b"task": b"spec.add", b"id": b"id-1", b"args": [b"raw"], b"kwargs": {b"k": b"v"}, b"taskset": b"g",
               b"eta": b"2031-05-17T13:14:15", b"callbacks": [{b"task": b"c", b"subtask_type": None}]}  # fmt: skip
    body = in_envelope(msgpack.packb(payload, use_bin_type=True), MSGPACK, headers={})
    call = decode(body, accept=Accept.default())
    assert (call.task, call.id, call.group, call.eta_wire) == ("spec.add", "id-1", "g", "2031-05-17T13:14:15")
    assert (call.args, call.kwargs) == ((b"raw",), {"k": b"v"})
    assert call.callbacks == [{"task": "c", "subtask_type": None}]


HEAD = {"task": "t", "id": "i"}


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        ([[], {}], HEAD), ([[], {}, {}, {}], HEAD), ([1, {}, {}], HEAD), (["text", {}, {}], HEAD), ([{}, {}, {}], HEAD),
        ([[], [], {}], HEAD), ([[], {}, []], HEAD), ("text", HEAD), (5, HEAD), (None, HEAD),
        ([[], {}, {}], {"task": "t"}), ([[], {}, {}], {"task": "", "id": "i"}), ([[], {}, {}], {"task": 5, "id": "i"}),
        ([[], {}, {}], {"task": "t", "id": ""}), ([[], {}, {}], {"task": "t", "id": ["i"]}),
        ([[], {}, {}], {"task": None, "id": "i"}),
        ([[], {}, {}], {**HEAD, "retries": "x"}), ([[], {}, {}], {**HEAD, "retries": -1}),
        ([[], {}, {}], {**HEAD, "retries": True}),
        ([[], {}, {}], {**HEAD, "timelimit": 5}), ([[], {}, {}], {**HEAD, "timelimit": [1]}),
        ([[], {}, {}], {**HEAD, "timelimit": ["a", None]}), ([[], {}, {}], {**HEAD, "timelimit": [-1, None]}),
        ([[], {}, {}], {**HEAD, "timelimit": [float("nan"), None]}), ([[], {}, {}], {**HEAD, "eta": "soon"}),
        ([[], {}, {}], {**HEAD, "eta": ""}), ([[], {}, {}], {**HEAD, "eta": 5}),
        ([[], {}, {}], {**HEAD, "expires": "2031-99-99"}),
        ([[], {}, {"callbacks": 5}], HEAD), ([[], {}, {"callbacks": [5]}], HEAD), ([[], {}, {"callbacks": [{}]}], HEAD),
        ([[], {}, {"chain": [{"task": 5}]}], HEAD), ([[], {}, {"chord": []}], HEAD), ([[], {}, {"errbacks": "x"}], HEAD),
        ([[], {}, {}], {**HEAD, "group": {}}), ({**V1, "kwargs": 1}, {}), ({**V1, "args": 1}, {}), ({**V1, "id": None}, {}),
    ],
)  # fmt: skip
def test_what_is_no_proper_call(payload: Any, headers: dict[str, Any], read: Any) -> None:
    with pytest.raises(Undecodable) as caught:
        read(payload, headers)
    assert caught.value.layer == "protocol"


@pytest.mark.parametrize(
    ("payload", "headers", "reason"),
    [
        ({"method": "ping", "arguments": {}}, {"clock": 1}, "remote-control command"),
        ({"type": "worker-heartbeat", "timestamp": 1.0}, {}, "event"),
        ({"w@h": {"ok": "pong"}}, {"ticket": "t"}, "reply"),
        ({"hello": "world"}, {}, "neither a task header nor task and id"),
        ({"task": "t"}, {}, "neither a task header nor task and id"),
        ([1, 2], {}, "names no task"),
    ],
)
def test_what_is_no_task_says_what_it_is(payload: Any, headers: dict[str, Any], reason: str, read: Any) -> None:
    with pytest.raises(Undecodable, match=reason) as caught:
        read(payload, headers)
    assert caught.value.layer == "protocol"


def test_a_call_shows_no_arguments_in_its_repr(read: Any) -> None:
    call = read([["secret"], {"secret": 1}, {"callbacks": [{"task": "c", "args": ["secret"]}]}], {**HEAD, "argsrepr": "secret"})
    assert "secret" not in repr(call)


def test_the_views_of_headers_and_properties(read: Any) -> None:
    call = read([[], {}, {}], {**HEAD, "ignore_result": True, "origin": "gen1@h", "argsrepr": "a", "kwargsrepr": "k",
                               "stamped_headers": ["s"], "stamps": {"s": [1]}, "replaced_task_nesting": 2})  # fmt: skip
    assert (call.ignore_result, call.origin, call.argsrepr, call.kwargsrepr) == (True, "gen1@h", "a", "k")
    assert (call.stamped_headers, call.stamps, call.replaced_task_nesting) == (["s"], {"s": [1]}, 2)
    plain = read([[], {}, {}], HEAD)
    assert (plain.ignore_result, plain.stamped_headers, plain.stamps, plain.replaced_task_nesting) == (None, [], {}, 0)
    assert (plain.priority, plain.compression) == (None, None)
