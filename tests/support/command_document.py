"""The tables of ``docs/command-line.md``, made from the code: ``python tests/support/command_document.py`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from pyqs.commands.celery_options import CELERY_OPTIONS, REFUSED_COMMANDS, of

DOCUMENT = Path(__file__).parents[2] / "docs" / "command-line.md"
BEGIN, END = "<!-- made from pyqs/commands/celery_options.py -->\n", "<!-- end -->\n"


def tables() -> str:
    """A table for each of Celery's commands that is here, and one of those that are not."""
    parts = []
    for command in dict.fromkeys(row.command for row in CELERY_OPTIONS):
        parts.append(f"### {f'`{command}`' if command else 'Before the command'}\n")
        parts.append("| option | here | |\n|---|---|---|")
        parts += [f"| {', '.join(f'`{name}`' for name in row.names)} | {row.fate.value} | {row.note} |" for row in of(command)]
        parts.append("")
    parts.append("### Not here: exit code 2, and this line\n")
    parts.append("| command | instead |\n|---|---|")
    parts += [f"| `celery {name}` | {instead} |" for name, instead in REFUSED_COMMANDS.items()]
    return "\n".join(parts) + "\n"


def renewed(text: str) -> str:
    """The document with the tables of today in it."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{tables()}{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
