"""Command lines of ``celery`` in Procfiles, Dockerfiles, compose and unit files, shell scripts and the like.

Owns: which files may hold one, ``commands``, and the rule of each command and option. Text only: nothing is run, and no file
format is parsed whole. A command is what begins with ``celery`` and has one of Celery's commands behind it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pyqs_celery_compat import program
from pyqs_celery_compat.checking import rules
from pyqs_celery_compat.checking import settings as setting_rules
from pyqs_celery_compat.checking.collected import Collected, Place
from pyqs_celery_compat.checking.findings import SAME, Judgement, Verdict, differs, look, unsupported
from pyqs_celery_compat.checking.reading import SILENCE
from pyqs_celery_compat.checking.values import Value

#: Names of files that hold command lines.
FILES = (
    "Procfile*", "*.procfile", "Dockerfile*", "*.dockerfile", "Containerfile*", "*.yml", "*.yaml", "*.service", "*.sh",
    "*.bash", "Makefile", "*.mk", "justfile", "*.toml", "*.conf", "*.ini", "*.json", "*.env", ".env*", "*.tf", "*.hcl",
)  # fmt: skip
_NEVER = ("package-lock.json", "*.lock.json", "poetry.lock", "composer.json")
_SHEBANG = re.compile(rb"^#!.*\b(?:ba|z|k|da)?sh\b")
_TOKEN = re.compile(r"\\\n|[ \t]+#[^\n]*|\n|[;&|<>()]|[^\s\"'`,\[\]{};&|<>()]+")
_FULL_COMMENT = re.compile(r"^\s*(?:#(?!!)|//|;)")
_SETTING = re.compile(
    r"^\s*(?:-\s+|export\s+|ENV\s+|Environment=\"?)?((?:CELERY_)?(?:BROKER_URL|RESULT_BACKEND))\"?\s*[:=]\s*\"?'?"
    r"([a-z0-9+_-]+):"
)

_HERE = "write `python -m pyqs_celery_compat` for `celery`; options and exit codes: docs/command-line.md"
#: Celery's commands.
COMMANDS: dict[str, Judgement] = {
    **dict.fromkeys(program.COMMANDS, differs(_HERE)),
    **{name: unsupported(note) for name, note in program.REFUSED.items()},
    "flower": rules.LIBRARIES["flower"],
}
_ASKED = unsupported(f"only `inspect ping` is there: {rules.INSTEAD_OF_ASKING}")
_EXECUTORS = unsupported("tasks run in executors, which are processes: leave -P out")


def _judged(fate: str, note: str) -> Judgement:
    if fate == "works":
        return SAME
    return differs(f"no effect: {note}") if fate == "no effect" else unsupported(note)


#: Options of Celery's commands: (command, name) to what becomes of it.
OPTIONS: dict[tuple[str, str], Judgement] = {
    (option.command, name): _judged(option.fate.value, option.note) for option in program.OPTIONS for name in option.names
}
#: How many words may stand between ``celery`` and its command.
_BETWEEN = 14
#: What stands before a command.
_BEGINNINGS = frozenset({"\n", "exec", ";", "&", "|", "(", "CMD", "-m", "command:", "run"})


class _Word(NamedTuple):
    text: str
    line: int
    column: int


def may_hold(name: str, content: bytes) -> bool:
    """Whether a file may hold command lines: by its name, or by being a shell script."""
    if any(fnmatch.fnmatch(name, one) for one in _NEVER):
        return False
    named = any(fnmatch.fnmatch(name, one) for one in FILES)
    is_script = "." not in name and _SHEBANG.match(content) is not None
    return (named or is_script) and (b"celery" in content or b"BROKER_URL" in content)


def check(path: str, content: bytes, found: Collected) -> None:
    """Judge the command lines of a file."""
    lines = content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    silenced = {number for number, line in enumerate(lines, 1) if SILENCE.search(line)}
    visible = ["" if _FULL_COMMENT.match(line) else line for line in lines]
    for number, line in enumerate(visible, 1):
        match = _SETTING.match(line)
        if match and number not in silenced:
            name = "broker_url" if match[1].endswith("BROKER_URL") else "result_backend"
            place = Place(path, number, match.start(1) + 1)
            found.say(place, "setting", match[1], setting_rules.judge(name, Value(False, match[2] + "://")))
    for words in commands("\n".join(visible), is_yaml=path.endswith((".yml", ".yaml"))):
        if words[0].line not in silenced:
            _judge(path, words, found)


def check_words(place: Place, words: Sequence[str], found: Collected) -> None:
    """Judge a command line that a program has as a list."""
    start = words.index("celery")
    command = [_Word(word, place.line, place.column) for word in words[start:]]
    if _command(command) is not None and any(word.text.startswith("-") for word in command):
        _judge(place.path, command, found)


def commands(text: str, *, is_yaml: bool = False) -> Iterator[list[_Word]]:
    """The words of each command that begins with ``celery`` and goes on with one of Celery's commands."""
    words = _words(text)
    for index, word in enumerate(words):
        if word.text.rpartition("=")[2].rpartition("/")[2] != "celery":  # ExecStart=/opt/venv/bin/celery
            continue
        taken, seen = [word], False
        for other in words[index + 1 :]:
            if other.text == "\n":
                if seen and not _goes_on(words, other, is_yaml):
                    break
                if not seen and not is_yaml:
                    break
                continue
            if other.text == "-":  # of a list in YAML
                continue
            if other.text in ";&|<>()" or (not seen and len(taken) > _BETWEEN):
                break
            taken.append(other)
            seen = seen or _command(taken) is not None
        if seen and _is_meant(words, index, taken):
            yield taken


def _is_meant(words: list[_Word], index: int, taken: list[_Word]) -> bool:
    """Whether it is a command and no prose: it has an option, or stands where a command begins and is all of it."""
    if any(word.text.startswith("-") for word in taken):
        return True
    before = words[index - 1].text if index else "\n"
    return before in _BEGINNINGS and len(taken) == 2


def _goes_on(words: list[_Word], end: _Word, is_yaml: bool) -> bool:
    """Whether a line that follows is still the command: in YAML an option, or an entry of the same list."""
    if not is_yaml:
        return False
    following = [word for word in words if word.line == end.line + 1 and word.text != "\n"]
    return bool(following) and ((following[0].text == "-" and len(following) == 2) or following[0].text[:2] == "--")


def _words(text: str) -> list[_Word]:
    found, line, start = [], 1, 0
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece == "\\\n":
            line, start = line + 1, match.end()
        elif piece == "\n":
            found.append(_Word(piece, line, 0))
            line, start = line + 1, match.end()
        elif not piece[0].isspace():
            found.append(_Word(piece, line, match.start() - start + 1))
    return found


def _command(words: list[_Word]) -> str | None:
    """Which of Celery's commands the words name: the first that is no option's value."""
    value_next = False
    for word in words[1:]:
        if value_next:
            value_next = False
        elif word.text in ("-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"):
            value_next = True
        elif word.text.startswith("-") or word.text == "args:":  # of a container in Kubernetes
            continue
        else:
            return word.text if word.text in COMMANDS else None
    return None


def _judge(path: str, words: list[_Word], found: Collected) -> None:
    command = _command(words)
    if command is None:
        return
    place = Place(path, words[0].line, words[0].column)
    asks = command == "inspect" and "ping" not in {word.text for word in words}
    found.say(place, "command", f"celery {command}", _ASKED if asks else COMMANDS[command])
    for index, word in enumerate(words[1:], 1):
        name, _, value = word.text.partition("=")
        value = value or (words[index + 1].text if index + 1 < len(words) else "")
        judged = OPTIONS.get((command, name)) or OPTIONS.get(("", name), SAME)
        if command == "worker" and name in ("-P", "--pool") and value not in ("prefork", "processes", "solo"):
            judged = look("which pool it is the source does not say: prefork alone is there") if "$" in value else _EXECUTORS
        elif name in ("-b", "--broker"):
            judged = setting_rules.judge("broker_url", Value(True, value))
        elif command == "worker" and name in ("-Q", "--queues"):
            for queue in value.split(","):
                found.queues.setdefault(queue, Place(path, word.line, word.column))
        if judged.verdict is not Verdict.SAME:
            found.say(Place(path, word.line, word.column), "option", f"celery {command} {name}", judged)
