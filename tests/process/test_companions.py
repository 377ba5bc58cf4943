"""``--emf`` and ``--ecs-protect`` of a real worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import ecs_agent
from emf import objections


@pytest.fixture
def agent() -> Iterator[ecs_agent.EcsAgent]:
    with ecs_agent.running() as agent:
        yield agent


def test_a_burst_writes_its_figures_to_standard_output(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(30))
    worker = project.start("-Q", "jobs", "-c", "2", "--burst", "--emf", "Shop/Workers", ready=None)
    assert worker.wait_exit() == 0, worker.log()
    lines = [line.encode() + b"\n" for line in worker.log().splitlines() if line.startswith("{")]
    assert not [said for line in lines for said in objections(line)]
    documents = [json.loads(line) for line in lines]
    assert [document.get("Queue") for document in documents] == ["jobs", None]
    assert [document["TasksSucceeded"] for document in documents] == [30, 30]
    assert documents[1]["Worker"].endswith(f":{worker.pid}")


def test_no_namespace(project: Any) -> None:
    worker = project.start("-Q", "jobs", "--emf", "AWS/SQS", ready=None)
    assert worker.wait_exit() == 2
    assert worker.log().startswith("pyqs: error: --emf: 'AWS/SQS' is no namespace")


def test_a_task_is_protected_until_the_worker_has_ended(project: Any, sqs: Any, agent: ecs_agent.EcsAgent) -> None:
    sqs.create("jobs")
    worker = project.start(
        "-Q", "jobs", "-c", "1", "--ecs-protect", "--shutdown-timeout", "none", env={"ECS_AGENT_URI": agent.uri}
    )
    assert agent.states == []
    sqs.native("jobs", "gate", "open")
    worker.wait_ran("gate  begins")
    worker.wait_until(lambda: agent.states == [True])
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping")
    assert agent.states == [True]
    worker.touch("open")
    assert worker.wait_exit() == 0
    assert agent.states == [True, False]
    sqs.wait_counts("jobs")


def test_an_agent_that_refuses_stops_nothing(project: Any, sqs: Any, agent: ecs_agent.EcsAgent) -> None:
    agent.refusal = 400, ecs_agent.THROTTLED
    sqs.create("jobs")
    sqs.native("jobs", "nap", 2)
    worker = project.start("-Q", "jobs", "-c", "1", env={"ECS_AGENT_URI": agent.uri, "PYQS_ECS_PROTECT": "1"})
    worker.wait_ran("nap  ends")
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("--ecs-protect")) == 1
    assert "ThrottlingException" in worker.lines("--ecs-protect")[0]
    sqs.wait_counts("jobs")


def test_not_in_a_task_of_ecs(project: Any) -> None:
    worker = project.start("-Q", "jobs", "--ecs-protect", ready=None)
    assert worker.wait_exit() == 2
    assert "ECS_AGENT_URI is not set" in worker.log()
