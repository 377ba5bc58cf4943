"""The files of ``deploy``: each is valid as far as this machine can tell, and its worker is stopped as its platform does it.

What a file says is run as it says it: its command, its variables, its signal and its patience. Only the SQS, its keys, and the
port on which probes are answered are this test's own.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import pytest
import yaml

import ecs_agent
from probe import Probe
from processes import RunningWorker, children_of, environment, wait_until
from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.sqs import Sqs, connect

DEPLOY = Path(__file__).parent / "deploy"
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
#: Seconds that systemd gives a unit that does not say, which is what Elastic Beanstalk starts processes of a Procfile as.
SYSTEMDS_PATIENCE = 90.0
#: Seconds that a stop takes beyond the deadline of tasks: deletes and releases, the host's goodbye, Python's own end.
REST = 10.0
#: Seconds that one order takes.
WORK = 3


@dataclass(frozen=True)
class Platform:
    """What a file says of its worker.

    Attributes:
        grace: seconds between the signal that asks and the one that kills.
        as_process_1: there is nothing else in its container.
        health: where it answers probes, as its variables say; "" if nowhere.
    """

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    grace: float = 0.0
    as_process_1: bool = True

    @property
    def health(self) -> str:
        return self.env.get("PYQS_HEALTH", "")


# -- the files --------------------------------------------------------------------------------------------------------


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, rest) of each, continued lines in one."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def image_env() -> dict[str, str]:
    return dict(pair.split("=", 1) for name, rest in dockerfile() if name == "ENV" for pair in shlex.split(rest))


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def kubernetes() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def ecs() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "ecs-task-definition.json").read_text())
    return loaded


def unit() -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=True, comment_prefixes=("#", ";"), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "pyqs-orders.service")
    return {section: dict(parser[section]) for section in parser.sections()}


def seconds(text: str) -> float:
    """A duration as compose writes it."""
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found
    assert text
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def of_docker() -> Platform:
    (command,) = [json.loads(rest) for name, rest in dockerfile() if name == "CMD"]
    (stop,) = [rest for name, rest in dockerfile() if name == "STOPSIGNAL"]
    (told,) = re.findall(r"docker run --stop-timeout (\d+)", (DEPLOY / "Dockerfile").read_text())
    return Platform("docker", command, image_env(), signal.Signals[stop], float(told))


def of_compose() -> Platform:
    worker = compose()["services"]["worker"]
    own = {name: str(value) for name, value in worker["environment"].items()}
    image = of_docker()
    stop = signal.Signals[worker.get("stop_signal", "SIGTERM")]
    command = worker.get("command", image.command)
    return Platform("compose", command, image_env() | own, stop, seconds(worker["stop_grace_period"]))


def of_ecs() -> Platform:
    (container,) = ecs()["containerDefinitions"]
    own = {one["name"]: one["value"] for one in container["environment"]}
    return Platform("ecs", container["command"], image_env() | own, grace=float(container["stopTimeout"]))


def of_kubernetes() -> Platform:
    pod = kubernetes()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    own = {one["name"]: one["value"] for one in container["env"]}
    assert "lifecycle" not in container, "a preStop takes its time from the grace period; this test does not run one"
    return Platform(
        "kubernetes", container["command"], image_env() | own, grace=float(pod["terminationGracePeriodSeconds"])
    )  # fmt: skip


def of_systemd() -> Platform:
    service = unit()["Service"]
    own = dict([service["Environment"].split("=", 1)])
    stop = signal.Signals[service["KillSignal"]]
    command = shlex.split(service["ExecStart"])
    return Platform("systemd", command, own, stop, float(service["TimeoutStopSec"]), as_process_1=False)


def of_beanstalk() -> Platform:
    (line,) = (DEPLOY / "Procfile").read_text().splitlines()
    name, command = line.split(":", 1)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    return Platform("beanstalk", shlex.split(command), grace=SYSTEMDS_PATIENCE, as_process_1=False)


PLATFORMS = [of_docker, of_compose, of_ecs, of_kubernetes, of_systemd, of_beanstalk]


@pytest.fixture(params=PLATFORMS, ids=lambda read: read.__name__.removeprefix("of_"))
def platform(request: pytest.FixtureRequest) -> Platform:
    read: Callable[[], Platform] = request.param
    return read()


# -- what they say ----------------------------------------------------------------------------------------------------


def test_a_platform_waits_longer_than_the_worker_does(platform: Platform) -> None:
    told = dict(zip(platform.command, platform.command[1:], strict=False))
    assert float(told["--shutdown-timeout"]) + REST <= platform.grace
    assert platform.stop_signal == signal.SIGTERM
    assert Path(platform.command[0]).name == "pyqs", "no shell in between, which would not pass the signal on"
    assert "-c" in told, "the number of executors, for which its memory was measured out"


def test_the_documentation_has_the_same_numbers() -> None:
    text = (DEPLOY.parents[2] / "docs" / "deploying.md").read_text()
    rows = re.findall(r"^\| ([\w ]+) \|[^|]*\|[^|]*\| (\d+) s \| (\d+) s \|$", text, re.MULTILINE)
    documented = {name.lower().removeprefix("elastic "): (float(grace), float(timeout)) for name, grace, timeout in rows}
    said = {}
    for platform in (read() for read in PLATFORMS):
        timeout = platform.command[platform.command.index("--shutdown-timeout") + 1]
        said[platform.name] = (platform.grace, float(timeout))
    assert documented == said


def test_the_image_is_small_and_runs_as_nobody_in_particular() -> None:
    names = [name for name, _ in dockerfile()]
    said = dict(dockerfile())
    assert names[0] == "FROM"
    assert said["FROM"] == "python:3.12-slim"
    assert said["USER"] == "10001"
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))
    for _, rest in filter(lambda one: one[0] == "COPY", dockerfile()):
        assert all((DEPLOY / source).exists() for source in rest.split()[:-1])
    check = said["HEALTHCHECK"].partition("CMD ")[2]
    assert json.loads(check)[0] == "python"
    assert f"http://{image_env()['PYQS_HEALTH']}/healthz" in check


def test_compose_is_what_compose_knows() -> None:
    """By hand: the keys of the Compose specification that are used here, and their types."""
    kinds = {
        "build": str, "command": list, "healthcheck": dict, "network_mode": str, "depends_on": dict, "environment": dict,
        "stop_grace_period": str, "restart": str,
    }  # fmt: skip
    file = compose()
    assert file.keys() == {"services"}
    for service in file["services"].values():
        assert service.keys() <= kinds.keys()
        assert all(isinstance(value, kinds[key]) for key, value in service.items())
    worker, sqs = file["services"]["worker"], file["services"]["sqs"]
    assert worker["network_mode"] == "service:sqs"
    assert worker["depends_on"] == {"sqs": {"condition": "service_healthy"}}
    assert sqs["healthcheck"].keys() == {"test", "interval", "timeout", "retries"}
    assert worker["environment"]["AWS_ENDPOINT_URL_SQS"] == "http://127.0.0.1:9324", "the default port of pyqs local"
    assert "9324" in sqs["healthcheck"]["test"][-1]


def test_ecs_would_take_the_task_definition() -> None:
    """By botocore's description of the API, which knows each parameter and its type."""
    client = botocore.session.get_session().create_client("ecs", region_name="us-east-1", aws_access_key_id="x",
                                                          aws_secret_access_key="x")  # fmt: skip
    shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    definition = ecs()
    assert definition.keys() <= shape.members.keys()
    report = botocore.validate.ParamValidator().validate(definition, shape)
    assert not report.has_errors(), report.generate_report()
    (container,) = definition["containerDefinitions"]
    members = shape.members["containerDefinitions"].member.members
    for name, value in container.items():
        assert name in members
        if isinstance(value, dict):
            assert members[name].type_name == "map" or value.keys() <= members[name].members.keys()
    assert 2 <= container["stopTimeout"] <= 120, "Fargate's most"
    assert "--ecs-protect" in container["command"]
    assert f"http://{of_ecs().health}/healthz" in container["healthCheck"]["command"][-1]


def test_the_task_role_may_set_the_protection() -> None:
    policy = json.loads((DEPLOY / "ecs-task-role-policy.json").read_text())
    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    operations = botocore.session.get_session().get_service_model("ecs").operation_names
    assert set(statement["Action"]) == {f"ecs:{name}" for name in operations if name.endswith("TaskProtection")}


#: The keys of apps/v1 Deployment and of its pods that are used here.
KNOWN = {
    "spec": {"selector", "strategy", "template"},
    "pod": {"serviceAccountName", "terminationGracePeriodSeconds", "securityContext", "containers"},
    "container": {
        "name",
        "image",
        "command",
        "env",
        "ports",
        "livenessProbe",
        "readinessProbe",
        "resources",
        "securityContext",
    },
}


def test_kubernetes_objects_are_what_kubernetes_knows() -> None:
    """By hand: there is no server to ask."""
    deployment = kubernetes()["Deployment"]
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec.keys() <= KNOWN["spec"]
    assert pod.keys() <= KNOWN["pod"]
    assert container.keys() <= KNOWN["container"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert type(pod["terminationGracePeriodSeconds"]) is int
    assert all(isinstance(one["value"], str) for one in container["env"])
    assert all(isinstance(word, str) for word in container["command"])
    assert pod["securityContext"]["runAsUser"] == int(dict(dockerfile())["USER"])
    (port,) = container["ports"]
    assert of_kubernetes().health == f"0.0.0.0:{port['containerPort']}", "the kubelet does not ask on loopback"
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    assert re.fullmatch(r"\d+[MG]i", container["resources"]["limits"]["memory"])


def test_keda_counts_what_runs_and_not_what_is_due_later() -> None:
    scaled, authentication = kubernetes()["ScaledObject"], kubernetes()["TriggerAuthentication"]
    assert scaled["apiVersion"] == authentication["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] == kubernetes()["Deployment"]["metadata"]["name"]
    assert scaled["spec"]["minReplicaCount"] >= 1
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "aws-sqs-queue"
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    metadata = trigger["metadata"]
    assert all(isinstance(value, str) for value in metadata.values()), "KEDA takes texts only"
    assert metadata.keys() <= {"queueURL", "awsRegion", "queueLength", "scaleOnInFlight", "scaleOnDelayed"}
    assert (metadata["scaleOnInFlight"], metadata["scaleOnDelayed"]) == ("true", "false")
    assert metadata["queueURL"].endswith("/orders")


def test_the_unit_ends_the_worker_and_not_its_executors() -> None:
    service = unit()["Service"]
    assert service["KillMode"] == "mixed", "control-group would send SIGTERM to executors, too"
    assert service["OOMPolicy"] == "continue"
    assert service["RestartPreventExitStatus"] == "2"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_knows_every_word_of_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "pyqs-orders.service").read_text()
    program = shlex.split(unit()["Service"]["ExecStart"])[0]
    copy = tmp_path / "pyqs-orders.service"
    copy.write_text(text.replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert "pyqs-orders" not in done.stdout + done.stderr, done.stderr
    copy.write_text(text.replace(program, sys.executable).replace("KillMode=", "KilMode="))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert "KilMode" in done.stderr, "it reads them"


# -- what they do -----------------------------------------------------------------------------------------------------


def _may_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )


PROCESS_1 = _may_unshare()


@dataclass
class Deployed:
    """A worker that was started as its file says."""

    worker: RunningWorker
    pid: int


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def endpoint() -> Iterator[str]:
    store = Store()
    with LocalServer(store) as server:
        yield server.endpoint_url
    store.close()


@pytest.fixture
def sqs(endpoint: str) -> Iterator[Sqs]:
    client = connect(ConnectionConfig("us-east-1", endpoint, "test", "test"))
    client.create_queue("orders", {})
    yield client
    client.close()


@pytest.fixture
def agent() -> Iterator[ecs_agent.EcsAgent]:
    with ecs_agent.running() as agent:
        yield agent


def keys(endpoint: str) -> dict[str, str]:
    """Variables as a container has them, with an SQS of this machine."""
    ours = {name: value for name, value in environment(endpoint).items() if not name.startswith("PYQS_")}
    return ours | {
        "AWS_ENDPOINT_URL_SQS": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def program(command: list[str]) -> list[str]:
    """The command, with this environment's ``pyqs``."""
    return [sys.executable, "-m", Path(command[0]).name, *command[1:]]


@pytest.fixture
def deploy(folder: Path, endpoint: str) -> Iterator[Callable[..., Deployed]]:
    started: list[RunningWorker] = []

    def deploy(platform: Platform, **env: str) -> Deployed:
        given = platform.env | keys(endpoint) | env
        if platform.health:
            given["PYQS_HEALTH"] = "127.0.0.1:0"
        alone = UNSHARE if platform.as_process_1 and PROCESS_1 else []
        log_file = folder / "worker.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*alone, *program(platform.command)], cwd=folder, env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        worker = RunningWorker(process, log_file, folder / "none")
        started.append(worker)
        worker.wait_log(r"\bready: 1 queues")
        if platform.health:
            Probe(worker).wait("/readyz", 200)
        return Deployed(worker, children_of(process.pid)[0] if alone else process.pid)

    yield deploy
    for worker in started:
        if worker.process.poll() is None:
            for pid in worker.everyone():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            worker.process.wait()


def order(folder: Path, endpoint: str, numbers: list[int], seconds: float) -> None:
    """Publish as the application does."""
    code = f"import orders\nfor number in {numbers}: orders.ship.delay(number, {seconds})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=keys(endpoint), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def counts(sqs: Sqs) -> tuple[int, int]:
    """Visible and hidden messages."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = sqs.queue_attributes(sqs.queue_url("orders"), names)
    return int(found[names[0]]), int(found[names[1]])


def test_a_stop_finishes_what_runs_and_loses_nothing(
    platform: Platform, deploy: Callable[..., Deployed], folder: Path, endpoint: str, sqs: Sqs, agent: ecs_agent.EcsAgent
) -> None:
    deployed = deploy(platform, ECS_AGENT_URI=agent.uri)
    worker = deployed.worker
    executors = int(platform.command[platform.command.index("-c") + 1])
    numbers = list(range(executors + 3))
    order(folder, endpoint, numbers, WORK)
    wait_until(lambda: len(worker.lines(r"order \d+ is packed")) == executors)
    protected = "--ecs-protect" in platform.command
    if protected:
        wait_until(lambda: agent.states == [True])
    began = time.monotonic()
    os.kill(deployed.pid, platform.stop_signal)
    code = worker.wait_exit(platform.grace)  # the platform would send SIGKILL now
    assert time.monotonic() - began < platform.grace
    assert code == 0, worker.log()
    shipped = {int(found) for found in re.findall(r"order (\d+) is shipped", worker.log())}
    packed = {int(found) for found in re.findall(r"order (\d+) is packed", worker.log())}
    assert shipped == packed
    assert len(shipped) >= executors
    assert counts(sqs) == (len(numbers) - len(shipped), 0), "what did not run is back, at once"
    assert agent.states == ([True, False] if protected else [])
    if platform.env.get("PYQS_LOG_FORMAT") == "json":
        lines = [json.loads(line) for line in worker.log().splitlines()]
        figures = [line for line in lines if "_aws" in line]
        assert sum(line["TasksSucceeded"] for line in figures if "Queue" not in line) == len(shipped) * (
            "--emf" in platform.command
        )


def test_a_platform_that_loses_patience_loses_no_order(
    deploy: Callable[..., Deployed], folder: Path, endpoint: str, sqs: Sqs
) -> None:
    """The SIGKILL after the grace period, here at once: what ran is hidden until its lease is over, and not gone."""
    deployed = deploy(of_kubernetes())
    order(folder, endpoint, [1], 60)
    deployed.worker.wait_log("order 1 is packed")
    os.kill(deployed.pid, signal.SIGKILL)
    deployed.worker.process.wait(30)
    assert counts(sqs) == (0, 1)


def test_the_sqs_of_compose_serves_the_worker_of_compose(folder: Path) -> None:
    """Both of them, each by its own command; the port is a free one."""
    service = compose()["services"]["sqs"]
    env = keys("http://127.0.0.1:1") | {"PYQS_LOCAL_PORT": "0"}
    log = folder / "sqs.log"
    with log.open("wb") as out:
        server = subprocess.Popen(program(service["command"]), cwd=folder, env=env, stdout=out, stderr=out)
    try:
        url = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))[0]
        order(folder, url, [1, 2], 0.1)
        worker = [*program(of_compose().command), "--burst"]
        done = subprocess.run(
            worker, cwd=folder, env=of_compose().env | keys(url) | {"PYQS_HEALTH": "127.0.0.1:0"}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert {*re.findall(r"order (\d+) is shipped", done.stderr)} == {"1", "2"}
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
