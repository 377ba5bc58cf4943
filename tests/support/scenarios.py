"""Scenario scripts under our client and worker on the embedded SQS, or under genuine prefork Celery on Redis.

Owns: one run of one script, from the first call until its worker has left, and what is the same in any two runs of it. Runs in
the test's process; clients and workers are processes of their own. Never leaves one behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import environment, without_settings

SCRIPTS = Path(__file__).parents[1] / "compat" / "scenarios" / "scripts"
#: Seconds for a scenario: what is tried again on SQS comes seconds later.
PATIENCE = 60.0
#: What no two runs share.
_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]{6,}")
#: One process runs all tasks: of two, one begins the next try while handlers of the last still run in the other.
_WORKER = ("-c", "1", "-l", "INFO")


class Side:
    """How one of the two runs a script.

    Parameters:
        python: the interpreter of client and worker. worker: its command line, with ``{script}`` for its app's
            module. broker, backend: URLs. env: variables for both.
    """

    def __init__(
        self, name: str, python: str, worker: tuple[str, ...], folder: Path, broker: str, backend: str, env: dict[str, str]
    ) -> None:
        self._command = (python, *worker)
        self._python = python
        self._folder = folder
        self._notes = folder / "notes"
        self._notes.touch()
        self._env = env | {
            "SCENARIO_SIDE": name,
            "SCENARIO_BROKER": broker,
            "SCENARIO_BACKEND": backend,
            "SCENARIO_NOTES": str(self._notes),
            "SCENARIO_PATIENCE": str(PATIENCE),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(SCRIPTS), env.get("PYTHONPATH", "")])),
            "C_FORCE_ROOT": "1",
        }

    def run(self, script: str, *, worker: bool) -> list[dict[str, Any]]:
        """What has happened when it is over and its worker has left, each note with the role of its process."""
        log = self._folder / "log"
        with log.open("wb") as out:
            process = self._start(script, out) if worker else None
            try:
                client = subprocess.run(
                    [self._python, str(SCRIPTS / "call.py"), script],
                    cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
                )  # fmt: skip
                assert client.returncode == 0, f"{client.stderr[-6000:]}\n{log.read_text()[-6000:]}"
                if process is not None:
                    process.send_signal(signal.SIGINT)  # warm for both; after SIGTERM ours waits for its open poll
                    process.wait(PATIENCE)
            finally:
                if process is not None and process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return with_roles([json.loads(_ID.sub("<id>", line)) for line in self._notes.read_text().splitlines()])

    def _start(self, script: str, out: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [part.format(script=script) for part in self._command],
            cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip


def ours(folder: Path, endpoint_url: str, redis_url: str) -> Side:
    """Our client and worker, with the alias; results that a script wants are on Redis, too."""
    broker = "sqs://test:test@" + endpoint_url.removeprefix("http://")
    return Side(
        "ours",
        sys.executable,
        ("-m", "pyqs", "worker", "-A", "{script}", "-Q", "scenario", *_WORKER),
        folder,
        broker,
        redis_url,
        environment(endpoint_url),
    )


def genuine(folder: Path, python: str, redis_url: str) -> Side:
    """Celery's, prefork."""
    env = without_settings()
    env.pop("PYTHONPATH", None)
    worker = (
        "-m",
        "celery",
        "-A",
        "{script}",
        "worker",
        *_WORKER,
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    )
    return Side("genuine", python, worker, folder, redis_url, redis_url, env)


def with_roles(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Process ids are of one run; what a process does is of every run: client, one that runs tasks ("child"), or another."""
    roles: dict[int, str] = {}
    for one in notes:
        if one["what"] == "client":
            roles[one["pid"]] = "client"
        elif (one["what"] == "run" or one.get("signal") == "worker_process_init") and one["pid"] not in roles:
            roles[one["pid"]] = "child"
    return [
        {key: value for key, value in one.items() if key != "pid"} | {"process": roles.get(one["pid"], "app")} for one in notes
    ]
