"""The demo itself: an SQS, messages, a worker, the count.

Owns: the order of it, the worker's and the writer's processes, the temporary folder. Runs in the main thread; the embedded
SQS serves in threads of this process. Ends its processes and removes its folder whatever happens. Never talks to AWS: the
processes get an environment without the user's AWS settings.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyqs.demo import report, scenario
from pyqs.errors import PyQSError
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage
from pyqs.sqs import Sqs

#: Seconds after which a worker that should have drained the queues long ago is ended.
DEADLINE = 60.0
#: What the demo types, as the user would.
WORKER = ("worker", "-Q", "email.*", "--burst", "--include", "email_tasks")
REGION = "us-east-1"
_LOOK = 0.1


class DemoFailed(PyQSError):
    """The demo could not be set up."""


@dataclass(slots=True)
class Outcome:
    """What the demo found out.

    Parameters:
        written: every message.
        ledger: one line for each run.
        left: queue name -> messages that are still there (visible, hidden or delayed).
        reason: what the worker said about the poison message, "" if nothing.
        exit_code: the worker's; None when it had to be ended.
        seconds: how long the worker took.
        log: what the worker printed.
    """

    written: list[scenario.Written]
    ledger: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    log: str = ""

    def problems(self) -> list[str]:
        """Everything that is not as it must be; empty when the demo has shown what it promises."""
        found = scenario.problems(self.written, self.ledger)
        if self.exit_code != 0:
            ending = f"after {DEADLINE:.0f} s it was still running" if self.exit_code is None else f"exit code {self.exit_code}"
            found.append(f"the worker did not drain the queues: {ending}")
        poison = [one for one in self.written if not one.runs]
        for queue, left in self.left.items():
            expected = sum(one.queue == queue for one in poison)
            if left != expected:
                found.append(f"queue {queue} holds {left} messages instead of {expected}")
        if poison and not self.reason:
            found.append("the worker said nothing about the poison message")
        return found


def run(screen: report.Screen | None = None) -> int:
    """Run the demo, on the terminal unless ``screen`` is another one.

    0 only if every message ran exactly once and the poison one is still there, else 1.
    """
    screen = screen or report.Screen()
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store()))
        server = stack.enter_context(LocalServer(store))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyqs-demo-"))
        project = Path(folder)
        for name, text in scenario.project_files().items():
            (project / name).write_text(text, encoding="utf-8")
        env = environment(server.endpoint_url, project / "ledger", os.environ)
        screen.say(f"An SQS of our own answers at {server.endpoint_url}: no AWS account, nothing leaves this machine.")
        # In-process: no client of the SDK, so nothing of the user's AWS settings is read here either.
        sqs = InProcessSqs(store, region=REGION)
        outcome = Outcome(fill(sqs, project, env))
        screen.say(f"{len(outcome.written)} messages written. Now a worker: pyqs {shlex.join(WORKER)}")
        drain(outcome, project, env, screen)
        outcome.left = leftovers(sqs, outcome.written)
    return screen.finish(outcome)


def environment(url: str, ledger: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the worker and the writer: the demo's SQS, and nothing of the user's AWS or pyqs settings."""
    env = {name: value for name, value in environ.items() if not name.startswith(("AWS_", "PYQS_", "CELERY_"))}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    env |= {
        "PYQS_ENDPOINT_URL": url,
        "PYQS_REGION": REGION,
        "PYQS_ACCESS_KEY_ID": "demo",
        "PYQS_SECRET_ACCESS_KEY": "demo",
        "PYQS_DEMO_LEDGER": str(ledger),
        "CELERY_BROKER_URL": "sqs://",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    home = str(Path(__file__).resolve().parents[2])
    if "site-packages" not in home:  # run from a checkout: the processes start elsewhere and must find it
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (home, env.get("PYTHONPATH"))))
    return env


def fill(sqs: Sqs, project: Path, env: Mapping[str, str]) -> list[scenario.Written]:
    """Create the queues, send the recorded messages, let the application write its own; what was written."""
    messages = scenario.recorded()
    urls = {name: sqs.create_queue(name) for name in ("email-celery", "email-shared", "email-native", "email-pyqs")}
    written = []
    for one in messages:
        sent = sqs.send(urls[one.queue], OutgoingMessage(one.body))
        written.append(replace(one, message_id=sent.message_id))
    command = [sys.executable, "write.py", str(scenario.FRESH)]
    writer = subprocess.run(command, cwd=project, env=dict(env), capture_output=True, text=True, timeout=DEADLINE, check=False)
    if writer.returncode:
        raise DemoFailed(f"the demo's application could not write its messages:\n{writer.stderr.strip()}")
    return written + scenario.fresh(writer.stdout.splitlines())


def drain(outcome: Outcome, project: Path, env: Mapping[str, str], screen: report.Screen) -> None:
    """Run the worker until it leaves, showing how far it is; fills in what it did."""
    expected = sum(len(one.runs) for one in outcome.written)
    ledger, log = project / "ledger", project / "worker.log"
    started = time.monotonic()
    with log.open("wb") as sink, screen.progress(expected) as advance:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pyqs", *WORKER], cwd=project, env=dict(env), stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            while worker.poll() is None and time.monotonic() - started < DEADLINE:
                advance(len(_lines(ledger)))
                time.sleep(_LOOK)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            else:
                outcome.exit_code = worker.returncode
        advance(len(_lines(ledger)))
    outcome.seconds = time.monotonic() - started
    outcome.ledger = _lines(ledger)
    outcome.log = log.read_text(encoding="utf-8", errors="replace")
    poison = next((one.message_id for one in outcome.written if not one.runs), "")
    outcome.reason = report.reason(outcome.log, poison)


def leftovers(sqs: Sqs, written: list[scenario.Written]) -> dict[str, int]:
    """Queue name -> how many messages it still holds, the hidden and the delayed counted in."""
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    found = {}
    for queue in dict.fromkeys(one.queue for one in written):
        counts = sqs.queue_attributes(sqs.queue_url(queue), names)
        found[queue] = sum(int(counts.get(name, 0)) for name in names)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
