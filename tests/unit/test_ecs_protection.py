"""Scale-in protection: what the ECS agent is asked, and when, against a server that plays the agent."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import ecs_agent
from pyqs.errors import ConfigError
from pyqs.worker.ecs_protection import LINGER, LONGEST_PAUSE, MINUTES, RENEWAL, VARIABLE, EcsProtection

ON = {"ProtectionEnabled": True, "ExpiresInMinutes": MINUTES}
OFF = {"ProtectionEnabled": False}


class Stage:
    """A worker as far as it is looked at, and a clock."""

    def __init__(self, uri: str) -> None:
        self.now = 1000.0
        self.credit = SimpleNamespace(held=0)
        self.acker = SimpleNamespace(pending=0)
        self.watched: Any = self
        self.protection = EcsProtection({VARIABLE: uri}, clock=lambda: self.now)

    def look(self, *, after: float = 0.5, held: int = 0, pending: int = 0) -> None:
        self.now += after
        self.credit.held, self.acker.pending = held, pending
        self.protection.look(self.watched)

    def end(self) -> None:
        self.protection.last_look(self.watched)


@pytest.fixture
def agent() -> Iterator[ecs_agent.EcsAgent]:
    with ecs_agent.running() as agent:
        yield agent


@pytest.fixture
def stage(agent: ecs_agent.EcsAgent) -> Stage:
    return Stage(agent.uri)


def test_it_is_on_while_there_is_work_and_off_a_while_after(agent: ecs_agent.EcsAgent, stage: Stage) -> None:
    stage.look()
    assert agent.asked == [], "an idle worker asks for nothing"
    stage.look(held=1)
    stage.look(held=3)
    stage.look(pending=1)
    assert agent.asked == [ON], "once, also while verdicts are on their way"
    stage.look(after=LINGER - 1)
    assert agent.asked == [ON]
    stage.look(after=2)
    stage.look()
    assert agent.asked == [ON, OFF]


def test_a_worker_that_is_idle_for_moments_only_does_not_ask_each_time(agent: ecs_agent.EcsAgent, stage: Stage) -> None:
    for _ in range(100):
        stage.look(after=2, held=1)
        stage.look(after=2)
    assert agent.asked == [ON]


def test_it_is_renewed_before_it_expires(agent: ecs_agent.EcsAgent, stage: Stage) -> None:
    assert RENEWAL < MINUTES * 60 / 1.5, "and a few tries that fail may lie between"
    stage.look(held=1)
    for _ in range(4):
        stage.look(after=RENEWAL / 2, held=1)
    assert agent.asked == [ON] * 3


def test_it_is_given_up_at_the_end(agent: ecs_agent.EcsAgent, stage: Stage) -> None:
    stage.end()
    assert agent.asked == []
    stage.look(held=1)
    stage.end()
    assert agent.asked == [ON, OFF]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, ecs_agent.THROTTLED),
        (200, ecs_agent.BLOCKED),
        (200, ecs_agent.EcsAgent.confirmation(OFF)),
        (200, b"<html>"),
        (200, b"[]"),
        (302, b""),
        (500, b"\xff"),
    ],
)
def test_what_is_no_confirmation_is_said_once_and_tried_again_with_pauses(
    agent: ecs_agent.EcsAgent, stage: Stage, caplog: pytest.LogCaptureFixture, status: int, answer: Any
) -> None:
    agent.refusal = status, answer
    for _ in range(3600):
        stage.look(after=1, held=1)
    assert 3600 / LONGEST_PAUSE <= len(agent.asked) <= 3600 / LONGEST_PAUSE + 6
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert "could not be set; it is tried again: HTTP" in said.getMessage()
    agent.refusal = None
    caplog.set_level(logging.INFO)
    stage.look(after=LONGEST_PAUSE, held=1)
    assert "answers again" in caplog.records[-1].getMessage()
    stage.end()
    assert agent.asked[-1] == OFF


def test_what_may_have_been_set_is_given_up(agent: ecs_agent.EcsAgent, stage: Stage) -> None:
    agent.refusal = 500, b"but it was done"
    stage.look(held=1)
    agent.refusal = None
    stage.look(after=LINGER)
    assert agent.asked == [ON, OFF]


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        stage = Stage(f"http://127.0.0.1:{taken.getsockname()[1]}/api")
        for _ in range(10):
            stage.look(held=1)
        stage.end()
    assert len(caplog.records) == 1
    assert "ConnectionRefusedError" in caplog.text


def test_no_proxy_is_asked(agent: ecs_agent.EcsAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    stage = Stage(agent.uri)
    stage.look(held=1)
    assert agent.asked == [ON]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "ECS_AGENT_URI is not set"),
        ("http://10.0.0.1/api", "leads off this machine, to 10.0.0.1"),
        ("http://[2001:db8::1]/api", "leads off this machine"),
        ("http://metadata.example.com/api", "no address of an ECS agent"),
        ("http://localhost/api", "no address of an ECS agent"),
        ("https://169.254.170.2/api", "no address of an ECS agent"),
        ("http://169.254.170.2:port/api", "no address of an ECS agent"),
        ("http://user@169.254.170.2/api", "no address of an ECS agent"),
        ("169.254.170.2/api", "no address of an ECS agent"),
    ],
)
def test_an_address_that_is_none_of_an_agent(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match="--ecs-protect") as raised:
        EcsProtection({VARIABLE: uri})
    assert words in str(raised.value)


def test_the_address_that_ecs_gives() -> None:
    EcsProtection({VARIABLE: "http://169.254.170.2/api/0123456789abcdef-42"})
