"""Probes of a worker that answers them.

Owns: ``Probe``. Runs in the test's process.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

LISTENING = r"health: http://127\.0\.0\.1:(\d+)/healthz"


class Probe:
    """Asks one worker."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        found = re.search(LISTENING, worker.wait_log(LISTENING))
        assert found
        self.base = f"http://127.0.0.1:{found[1]}"

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.base + path, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figures(self) -> dict[tuple[str, ...], float]:
        status, text = self.get("/metrics")
        assert status == 200
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def wait(self, path: str, status: int, words: str = "", timeout: float = 30.0) -> None:
        """Until it answers so."""
        self.worker.wait_until(lambda: (answer := self.get(path))[0] == status and words in answer[1], timeout)
