"""Every recorded canvas of Celery 3.1, 4.4, 5.2 and 5.7, run to its end by real workers: what is called, with what."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import real_redis
from pyqs_celery_compat import Celery

FOLDER = Path(__file__).parents[1] / "compat" / "specimens"
PRODUCERS = ("celery3.1.26-py36", "celery4.4.7-py37", "celery5.2.7-py39", "celery5.7.0-py312")
CANVAS = ("callbacks", "errbacks", "chain", "chord")

TASKS = """
import json, os
from pyqs_celery_compat import Celery

app = Celery("spec", broker="sqs://", backend=os.environ["STORE"], broker_transport_options={"region": "us-east-1"})
app.conf.update(accept_content=["json", "pickle"], task_create_missing_queues=True, task_default_queue="canvases")

def note(name, args, kwargs):
    with open("called.txt", "a") as out:
        out.write(json.dumps([name, args, kwargs], sort_keys=True) + "\\n")

def task(name, function):
    def run(*args, **kwargs):
        note(name, args, kwargs)
        return function(*args)
    app.task(name=f"spec.tasks.{name}", typing=False)(run)

task("add", lambda x, y=0, *_: x + y)
task("mul", lambda x, y=1, *_: x * y)
task("tsum", lambda numbers, *_: sum(numbers))
task("cb", lambda *_: None)
task("eb", lambda *_: None)
"""
#: What the tasks give, as above.
RESULTS: dict[str, Any] = {
    "add": lambda x, y=0, *_: x + y,
    "mul": lambda x, y=1, *_: x * y,
    "tsum": lambda numbers, *_: sum(numbers),
    "cb": lambda *_: None,
}


def canvases(producer: str) -> list[dict[str, Any]]:
    """A producer's messages that more follows from, or that stand for several calls."""
    lines = gzip.decompress((FOLDER / f"{producer}.jsonl.gz").read_bytes()).decode().splitlines()
    found = [one for one in map(json.loads, lines) if one["expect"]["kind"] == "task"]
    return [
        one for one in found
        if any(one["expect"].get(part) for part in CANVAS) or (one["sent"] or {}).get("canvas")
    ]  # fmt: skip


def plain(value: Any) -> Any:
    """Without the specimens' markers of tuples."""
    if isinstance(value, dict):
        return plain(value["__tuple__"]) if set(value) == {"__tuple__"} else {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


class Truth:
    """What must be called, worked out from what the producers' own Celery read in their messages."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._parts: dict[str, dict[str, Any]] = defaultdict(dict)
        self.sizes: Counter[str] = Counter()

    def message(self, expect: dict[str, Any]) -> None:
        """One message of a queue."""
        args, kwargs = plain(expect["args"]), plain(expect["kwargs"])
        if expect["task"] in ("celery.map", "celery.starmap"):
            name = kwargs["task"]["task"]
            for one in kwargs["it"]:
                self._call(name, one if expect["task"] == "celery.starmap" else [one], {})
            return
        self._run(expect["task"], args, kwargs, plain(expect), after=list(plain(expect["chain"]) or ()))

    def _run(self, task: str, args: list[Any], kwargs: dict[str, Any], about: dict[str, Any], after: list[Any]) -> Any:
        result = self._call(task, args, kwargs)
        for callback in about.get("callbacks") or about.get("link") or ():
            self._signature(callback, result)
        if after:
            following = after.pop()
            self._signature(following, result, after)
        if about.get("chord"):
            group = about.get("group") or about["taskset"]
            self._part(group, about["chord"], result, about)
        return result

    def _signature(self, sig: dict[str, Any], result: Any, after: list[Any] | None = None) -> None:
        args = sig["args"] if sig["immutable"] else [result, *sig["args"]]
        if sig["task"] == "celery.chord":
            return self._chord(sig, result)
        self._run(sig["task"], args, sig["kwargs"], sig["options"], after if after is not None else [])
        return None

    def _chord(self, sig: dict[str, Any], result: Any) -> None:
        header = sig["kwargs"]["header"]
        tasks = header["kwargs"]["tasks"] if isinstance(header, dict) else header
        body = sig["kwargs"]["body"]
        found = [self._call(one["task"], [result, *one["args"]], one["kwargs"]) for one in tasks]
        self._signature(body, found)

    def _part(self, group: str, body: dict[str, Any], result: Any, about: dict[str, Any]) -> None:
        parts = self._parts[group]
        parts[about["id"]] = result
        self.sizes[group] += 1

    def bodies(self, chords: dict[str, tuple[int, dict[str, Any]]]) -> None:
        """The bodies of chords whose header is complete."""
        for group, (size, body) in chords.items():
            assert len(self._parts[group]) == size
            self._signature(body, list(self._parts[group].values()))

    def _call(self, task: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        name = task.rpartition(".")[2]
        self.calls[written(name, args, kwargs)] += 1
        return RESULTS[name](*args)


@pytest.mark.parametrize("producer", PRODUCERS)
def test_canvases_of_every_era_run_to_their_end(
    producer: str, project: Any, sqs: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found, truth = canvases(producer), Truth()
    chords: dict[str, tuple[int, dict[str, Any]]] = {}
    for one in found:
        truth.message(one["expect"])
        if one["expect"]["chord"]:
            group = one["expect"].get("group") or one["expect"]["taskset"]
            chords[group] = one["of"], plain(one["expect"]["chord"])
    truth.bodies(chords)
    (project.folder / "spec.py").write_text(TASKS)
    sqs.create("canvases", "otherq")  # where some links go
    with real_redis.running(tmp_path_factory.mktemp("redis")) as server:
        backend = Celery("sizes", broker="memory://", backend=server.url, set_as_current=False).backend
        for group, (size, _) in chords.items():
            backend.set_chord_size(group, size)  # as the producer's own client did
        worker = project.start("-A", "spec", "-Q", "canvases,otherq", "-c", "2", env={"STORE": server.url})
        for one in found:
            sqs.send("canvases", one["body"])
        with contextlib.suppress(TimeoutError):  # what is missing is said below
            worker.wait_until(lambda: len(calls(project.folder)) >= truth.calls.total(), 60)
        sqs.wait_counts("canvases")
        worker.terminate(2)
    assert Counter(calls(project.folder)) == truth.calls
    assert truth.calls.total() > 90


def written(name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    """A call. The results of a header come in any order to the body of a chord whose messages do not number its tasks."""
    if name == "tsum":
        args = [sorted(args[0]), *args[1:]]
    return json.dumps([name, args, kwargs], sort_keys=True)


def calls(folder: Path) -> list[str]:
    """What was called so far."""
    path = folder / "called.txt"
    return [written(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
