"""Our backend as Django's own tests of its framework use one: they look into what was enqueued, and give priorities.

Owns: ``KeptBackend``. What those tests are about is ours (validation, results, ``enqueue``, ``aenqueue``, signals, logs); the
rest is what the backend that they were written for has, and ours has not: results to ask for, and priorities.
"""

from __future__ import annotations

import copy
from typing import Any

from django.tasks import TaskResult
from django.tasks.exceptions import TaskResultDoesNotExist

from pyqs.config import ConnectionConfig
from pyqs.django import SqsBackend
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.producer import Producer

_sqs = InProcessSqs(Store())
_producer = Producer(ConnectionConfig(), connector=lambda connection: _sqs)


class KeptBackend(SqsBackend):
    """It keeps the results of what it has sent to an SQS in memory."""

    supports_priority = True

    def __init__(self, alias: str, params: Any) -> None:
        super().__init__(alias, params)
        self.results: list[TaskResult] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
        result = super().enqueue(task, args, kwargs)
        self.results.append(result)
        return copy.deepcopy(result)

    def get_result(self, result_id: str) -> TaskResult:
        found = [result for result in self.results if result.id == result_id]
        if not found:
            raise TaskResultDoesNotExist(result_id)
        return found[0]

    async def aget_result(self, result_id: str) -> TaskResult:
        return self.get_result(result_id)

    def clear(self) -> None:
        self.results.clear()

    def _producer(self) -> Producer:
        return _producer
