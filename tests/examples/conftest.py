"""What the examples share: an SQS on loopback, and a copy of an example whose processes talk to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from processes import environment
from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.sqs import connect

HERE = Path(__file__).parent
#: Seconds for one process.
PATIENCE = 60.0


@dataclass
class Example:
    """A copy of an example."""

    folder: Path
    env: dict[str, str]
    python: str = sys.executable

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``python *args`` in it to its end, which must be a good one."""
        done = subprocess.run(
            [self.python, *args], cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def answer(self, code: str, **env: str) -> Any:
        """What a program of the example prints last, as JSON."""
        return json.loads(self.run("-c", code, **env).stdout.splitlines()[-1])


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[..., Example]]:
    """Makes a copy of one, and its queues."""
    store = Store()
    with LocalServer(store) as server:
        env = {name: value for name, value in environment(server.endpoint_url).items() if not name.startswith("SHOP_")}
        env["SHOP_SQS"] = server.endpoint_url.removeprefix("http://")
        client = connect(ConnectionConfig("us-east-1", server.endpoint_url, "test", "test"))

        def make(name: str, *queues: str) -> Example:
            for queue in queues:
                client.create_queue(queue, {})
            folder = tmp_path / name
            shutil.copytree(HERE / name, folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
            return Example(folder, env)

        yield make
        client.close()
    store.close()
