"""Emulators of AWS that others have written, as processes on this machine's loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from processes import free_port, wait_until

MOTO = ("-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}")
MINISTACK = ("-c", "from ministack.app import main; main()")


def ministack(services: str) -> contextlib.AbstractContextManager[str]:
    """``listening``, for a ministack with these of AWS's services. Skips the test where it is not installed."""
    if importlib.util.find_spec("ministack") is None and "PYQS_CONTRACT_PYTHON" not in os.environ:
        pytest.skip("ministack is not installed (see the interop session of noxfile.py)")
    environment = {"GATEWAY_PORT": "{port}", "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "SERVICES": services}
    return listening(MINISTACK, environment)


@contextlib.contextmanager
def listening(arguments: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of an emulator that runs inside the context.

    Parameters:
        arguments: of the Python that ``PYQS_CONTRACT_PYTHON`` names, else this one. environment: more variables.
            ``{port}`` in both is a free port.
    """
    port = free_port()
    python = os.environ.get("PYQS_CONTRACT_PYTHON", sys.executable)
    command = [python, *(argument.format(port=port) for argument in arguments)]
    env = {**os.environ, **{key: value.format(port=port) for key, value in (environment or {}).items()}}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        assert process.poll() is None, f"{arguments} did not start; is it installed?"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # ministack waits for connections that somebody keeps open
            process.kill()
            process.wait()
