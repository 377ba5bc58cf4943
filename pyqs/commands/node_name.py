"""The name of a worker's node, as Celery's users write it: ``w1@%h``.

Owns: what ``%h``, ``%n``, ``%d``, ``%i`` and ``%I`` stand for in names and in the paths of log and pid files. Pure, but for the
machine's name.
"""

from __future__ import annotations

import re
import socket

from pyqs.errors import ConfigError

#: The part before ``@`` where a name has none.
DEFAULT_NAME = "celery"
_FORMAT = re.compile(r"%(.)")


def node_name(given: str) -> str:
    """The name of a node: ``w1@%h`` on the machine ``box`` is ``w1@box``, ``w1`` is ``celery@w1``, as in Celery.

    Raises:
        ConfigError: another letter behind a ``%``.
    """
    name, _, host = given.rpartition("@")
    return expand(f"{name or DEFAULT_NAME}@{host}", "--hostname")


def expand(text: str, where: str, node: str = "") -> str:
    """``text`` with what its ``%`` letters stand for.

    Parameters:
        where: the option, for the error.
        node: the node's name, of which ``%n``, ``%h`` and ``%d`` are parts and which is ``%p``; empty for a name that is made
            of the machine's.
    """
    machine = socket.gethostname()
    name, _, host = node.rpartition("@")
    short, _, domain = (host or machine).partition(".")
    # A worker's processes share one log and one pid file, so that the number of a process is the first one's.
    meaning = {"h": host or machine, "n": name or short, "d": domain, "i": "0", "I": "", "%": "%"}
    if node:
        meaning["p"] = node

    def one(found: re.Match[str]) -> str:
        letter = found.group(1)
        if letter not in meaning:
            raise ConfigError(f"{where}: %{letter} in {text!r} stands for nothing; %h, %n and %d are known, %% is a %")
        return meaning[letter]

    return _FORMAT.sub(one, text)
