"""The SQS that is measured against: which server, how far away, and its processes.

Owns: ``Site`` and the processes behind it: the server (``pyqs local``, or fauxqs of npm), and the relay. Runs in the
benchmark's main thread. Never leaves a process behind, and no process listens on anything but loopback.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.near import Near
from kit.procfs import cpu_seconds
from kit.results import ROOT

HERE = Path(__file__).parents[1]
FAUXQS = ROOT / ".nox" / "peers" / "fauxqs"
SERVERS = ("embedded", "fauxqs")
#: Nothing of the settings of the person who runs this.
_FOREIGN = ("AWS_", "PYQS_", "CELERY_", "DJANGO_", "PYTHON")


@dataclass(frozen=True)
class Site:
    """One SQS.

    Parameters:
        server: ``embedded`` or ``fauxqs``.
        round_trip: milliseconds that the relay adds.
        endpoint: for those who are measured.
        near: the server itself, without relay.
        pids: of the server and the relay.
        ca_bundle: what to trust, with TLS.
    """

    server: str
    round_trip: float
    endpoint: str
    near: str
    pids: tuple[int, ...]
    ca_bundle: str | None = None

    @property
    def name(self) -> str:
        return f"{self.server} {self.round_trip:g} ms{' TLS' if self.ca_bundle else ''}"

    @property
    def address(self) -> str:
        """Host and port, for a broker URL."""
        return self.endpoint.partition("//")[2]

    def cpu(self) -> float:
        """CPU seconds that the server and the relay have used so far."""
        return sum(map(cpu_seconds, self.pids))

    def environment(self) -> dict[str, str]:
        """Variables for a process that talks to it."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        env |= {
            "AWS_ENDPOINT_URL_SQS": self.endpoint,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYQS_ENDPOINT_URL": self.endpoint,
            "PYQS_REGION": "us-east-1",
            "PYQS_ACCESS_KEY_ID": "test",
            "PYQS_SECRET_ACCESS_KEY": "test",
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "BENCH_ADDRESS": self.address,
            "BENCH_TLS": "1" if self.ca_bundle else "",
        }
        if self.ca_bundle:
            env |= {"AWS_CA_BUNDLE": self.ca_bundle, "SSL_CERT_FILE": self.ca_bundle, "CURL_CA_BUNDLE": self.ca_bundle}
        return env


@contextmanager
def site(server: str, round_trip: float = 0.0, *, tls: bool = False) -> Iterator[Site]:
    """A fresh, empty SQS in processes of its own; a relay before it where it is far away or has TLS."""
    with ExitStack() as stack:
        near, pid = stack.enter_context(_process(_command(server)))
        endpoint, pids, bundle = near, (pid,), None
        if round_trip or tls:
            relay = [sys.executable, str(HERE / "kit" / "proxy.py"), near.rpartition(":")[2], str(round_trip)]
            if tls:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                certificate, bundle = certify(Path(folder))
                relay.append(certificate)
            endpoint, other = stack.enter_context(_process(relay))
            pids = (pid, other)
        yield Site(server, round_trip, endpoint, near, pids, bundle)


def available(server: str) -> str | None:
    """Why this server cannot be had here, or None."""
    if server == "fauxqs" and not (FAUXQS / "complete").exists():
        return f"fauxqs is not installed in {FAUXQS} (nox -s bench does it; it needs npm)"
    return None


def actual_round_trip(endpoint: str) -> float:
    """Milliseconds of a call that does nothing, from here: what the relay and the server's own work come to."""
    near, times = Near(endpoint), []
    for _ in range(30):
        began = time.perf_counter()
        near.call("ListQueues", QueueNamePrefix="none-")
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def certify(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 with its key, and the bundle that trusts it; both made here and for this run only."""
    import trustme

    authority = trustme.CA()
    own, bundle = folder / "server.pem", folder / "ca.pem"
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(own)
    authority.cert_pem.write_to_path(bundle)
    return str(own), str(bundle)


def _command(server: str) -> list[str]:
    if server == "embedded":
        return [sys.executable, "-m", "pyqs.local", "--memory", "--port", "0"]
    if server != "fauxqs":
        raise ValueError(f"no server {server!r}; there are {SERVERS}")
    own = FAUXQS / "node_modules"
    node = own / ".bin" / "node"  # the release that npm keeps: fauxqs wants a newer one than many systems have
    entry = own / "fauxqs" / "dist" / "app.js"
    return [str(node), "--require", str(HERE / "loopback.cjs"), str(HERE / "fauxqs.mjs"), str(entry)]


@contextmanager
def _process(command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """A process that prints its address, and its pid."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"https?://127\.0\.0\.1:\d+", line):
                yield found[0], process.pid
                break
        else:
            raise RuntimeError(f"{command[0]} ended without an address, with {process.wait()}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
