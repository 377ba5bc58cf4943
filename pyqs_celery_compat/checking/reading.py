"""The files of a codebase: which are looked at, their text and their syntax trees.

Owns: ``files``, ``Source``, ``read``. Runs in the process of ``pyqs check``; reads files and runs none. A file that does
not parse is a ``SyntaxProblem`` with its line, never an exception. Links to directories are not followed, so no loop is.
"""

from __future__ import annotations

import ast
import fnmatch
import io
import os
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Directories that hold nobody's own code, or only what once was done.
EXCLUDED = (
    ".*", "__pycache__", "node_modules", "site-packages", "venv", "env", "virtualenv", "build", "dist", "migrations",
    "*.egg-info",
)  # fmt: skip
#: Directories with a dot that are looked into nevertheless, for commands.
_DOTTED = frozenset({".github", ".devcontainer", ".ebextensions", ".platform", ".circleci", ".docker"})
#: The largest file that is read, in bytes.
LARGEST = 4 << 20
#: A Python file without any of these has no use of Celery in it, as its bytes.
_WORDS = re.compile(
    rb"celery|kombu|billiard|shared_task|\.delay\b|\.apply_async\b|\.delay_on_commit|\.send_task|CELERY|BROKER_URL|broker_url"
    rb"|\.task\b|flower|redbeat",
)
#: ``except A, B:``, which is an error before Python 3.14.
_EXCEPT = re.compile(r"^(\s*except\s+)([^()\s:][^():]*,[^():]*?)(\s*:)", re.MULTILINE)
SILENCE = re.compile(r"#\s*pyqs:\s*ok\b")


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a file was not understood, and in which line."""

    line: int
    column: int
    reason: str


@dataclass(slots=True)
class Source:
    """A file.

    Parameters:
        path: as it is shown. module: its dotted name, as far as the directories below the root say.
        text: what it holds. tree: of a Python file without a problem.
    """

    path: str
    module: str
    is_package: bool
    text: str
    tree: ast.Module | None = None
    problem: SyntaxProblem | None = None
    silenced: frozenset[int] = field(default_factory=frozenset)


def files(roots: Sequence[Path], exclude: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """(root, file) of every file below the roots, in order; a root that is a file is itself.

    Parameters:
        exclude: patterns of names or of paths below a root, on top of ``EXCLUDED``.
    """
    seen: set[Path] = set()
    for root in roots:
        if root.is_file():
            yield root.parent, root
            continue
        for folder, directories, names in os.walk(root):
            here = Path(folder)
            directories[:] = sorted(
                name for name in directories if not _is_left_out(root, here / name, (*EXCLUDED, *exclude), _DOTTED)
            )
            for name in sorted(names):
                path = here / name
                if not _is_left_out(root, path, exclude) and path not in seen and path.is_file():
                    seen.add(path)
                    yield root, path


def _is_left_out(root: Path, path: Path, patterns: Sequence[str], unless: frozenset[str] = frozenset()) -> bool:
    below = path.relative_to(root).as_posix()
    for pattern in patterns:
        if pattern == ".*" and path.name in unless:
            continue
        if fnmatch.fnmatchcase(below if "/" in pattern.rstrip("/") else path.name, pattern.rstrip("/")):
            return True
    return False


def import_root(root: Path) -> Path:
    """The directory that a package below it, or around it, is imported from."""
    top = root.resolve()
    while (top / "__init__.py").is_file() and top.parent != top:
        top = top.parent
    return top


def bytes_of(path: Path) -> bytes | None:
    """What a file holds; None for one that is too large or cannot be read."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        return path.read_bytes()
    except OSError:
        return None


def mentions(content: bytes) -> bool:
    """Whether a Python file may use Celery at all."""
    return _WORDS.search(content) is not None


def read(root: Path, path: Path, content: bytes, shown: str) -> Source:
    """A Python file, parsed; ``root`` is its ``import_root``."""
    below = (path.parent.resolve() / path.name).relative_to(root).with_suffix("").parts
    is_package = below[-1] == "__init__"
    module = ".".join(below[:-1] if is_package else below)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as exc:
        return Source(shown, module, is_package, "", problem=SyntaxProblem(1, 1, f"its encoding cannot be read ({exc})"))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    source = Source(shown, module, is_package, text, silenced=silenced_lines(text))
    tree = parse(text)
    if isinstance(tree, SyntaxProblem):
        source.problem = tree
    else:
        source.tree = tree
    return source


def silenced_lines(text: str) -> frozenset[int]:
    """The lines with ``# pyqs: ok`` in them."""
    if "pyqs" not in text:
        return frozenset()
    return frozenset(number for number, line in enumerate(text.split("\n"), 1) if SILENCE.search(line))


def parse(text: str) -> ast.Module | SyntaxProblem:
    """The syntax tree. What is new in Python 3.14 and changes no line is understood under older ones, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's escapes in strings
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            problem = exc
        amended = _EXCEPT.sub(r"\1(\2)\3", text)
        if amended != text:
            try:
                return ast.parse(amended)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                pass
    if isinstance(problem, SyntaxError):
        return SyntaxProblem(problem.lineno or 1, problem.offset or 1, problem.msg)
    return SyntaxProblem(1, 1, str(problem) or type(problem).__name__)
