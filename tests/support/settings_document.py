"""The table of ``docs/configuration.md``, made from the code: ``python tests/support/settings_document.py`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from pyqs_celery_compat.app.defaults import DEFAULTS, TO_OLD
from pyqs_celery_compat.app.setting_table import FACTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
BEGIN, END = "<!-- made from pyqs_celery_compat/app/setting_table.py -->\n", "<!-- end -->\n"


def table() -> str:
    """A row for each setting."""
    rows = ["| setting | before Celery 4 | default | here | |", "|---|---|---|---|---|"]
    for name, fact in FACTS.items():
        default = repr(DEFAULTS[name]).replace("datetime.", "").replace("|", "\\|")
        rows.append(f"| `{name}` | `{TO_OLD[name]}` | `{default}` | {fact.fate.value} | {fact.note} |")
    return "\n".join(rows) + "\n"


def renewed(text: str) -> str:
    """The document with the table of today in it."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
