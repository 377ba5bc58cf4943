"""Headers that travel with a signature and with all that comes of it.

Owns: ``StampingVisitor`` and the walk through a canvas. Pure; runs where a canvas is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.signatures import Signature, maybe_signature
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.chords import _chord
    from pyqs_celery_compat.groups import group


class StampingVisitor(ABC):
    """Says what stamps each part of a canvas gets: a dict, and under ``stamped_headers`` which of its keys are stamps.

    Without that key all of them are.
    """

    @abstractmethod
    def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        """For each signature, canvases included."""

    def on_group_start(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        """Before a group's members; for each of them, too."""
        return {}

    def on_group_end(self, sig: Signature, **headers: Any) -> None:  # noqa: B027 - not every visitor cares
        """After them."""

    def on_chain_start(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        """Before a chain's steps; for each of them, too."""
        return {}

    def on_chain_end(self, sig: Signature, **headers: Any) -> None:  # noqa: B027 - not every visitor cares
        """After them."""

    def on_chord_header_start(self, sig: _chord, **headers: Any) -> dict[str, Any]:
        """Before a chord's header; for each of its tasks, too. It is a group from then on."""
        header = sig.tasks = sig._header()
        return self.on_group_start(header, **headers)

    def on_chord_header_end(self, sig: _chord, **headers: Any) -> None:
        """After it."""
        self.on_group_end(sig._header(), **headers)

    def on_chord_body(self, sig: _chord, **headers: Any) -> dict[str, Any]:
        """Before a chord's body, and for it."""
        return {}

    def on_callback(self, callback: Signature, **headers: Any) -> dict[str, Any]:
        """For each signature that is linked to."""
        return {}

    def on_errback(self, errback: Signature, **headers: Any) -> dict[str, Any]:
        """For each that is called on failure."""
        return {}


class GroupStampingVisitor(StampingVisitor):
    """Stamps what is in groups with the groups' ids, outermost first."""

    def __init__(self, groups: list[str] | None = None, stamped_headers: list[str] | None = None) -> None:
        self.groups = groups or []
        self.stamped_headers = stamped_headers or ["groups"]

    def on_group_start(self, group: group, **headers: Any) -> dict[str, Any]:  # type: ignore[override]  # Celery's name
        group_id = group.id
        if group_id is None:
            group_id = group.options["task_id"] = uuid()
        if group_id not in self.groups:
            self.groups.append(group_id)
        return {"groups": list(self.groups), "stamped_headers": list(self.stamped_headers)}

    def on_group_end(self, group: group, **headers: Any) -> None:  # type: ignore[override]
        self.groups.pop()

    def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        return {"groups": list(self.groups), "stamped_headers": list(self.stamped_headers)}


def stamp(sig: Signature, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    """What ``Signature.stamp`` does.

    Parameters:
        append: add to a stamp's value that is there, as one more of a list; else it is replaced.
    """
    kind = sig.get("subtask_type")
    headers = _declared(headers)
    if kind == "chord":
        _stamp_chord(sig, visitor, append, headers)  # type: ignore[arg-type]
        return
    if kind not in ("chain", "group"):
        _stamp_one(sig, visitor, append, headers)
        return
    inner = headers
    if visitor is not None:
        inner = _together(headers, getattr(visitor, f"on_{kind}_start")(sig, **headers))
    stamp_links(sig, visitor, append, inner)
    for part in sig.tasks:  # type: ignore[attr-defined]
        stamp(part, visitor, append, inner)
    if visitor is not None:
        getattr(visitor, f"on_{kind}_end")(sig, **inner)


def stamp_links(sig: Signature, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    """What ``Signature.stamp_links`` does."""
    for option, moment in (("link", "on_callback"), ("link_error", "on_errback")):
        found = sig.options.get(option) or ()
        several = found if isinstance(found, (list, tuple)) else (found,)
        linked = [maybe_signature(one, app=sig._app) for one in several]
        for one in linked:
            more = getattr(visitor, moment)(one, **headers) if visitor is not None else {}
            stamp(one, visitor, append, _together(headers, more))
        if linked:
            sig.options[option] = linked


def _stamp_chord(sig: _chord, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    inner = _together(headers, visitor.on_chord_header_start(sig, **headers)) if visitor is not None else headers
    stamp_links(sig, visitor, append, headers)
    for part in sig._members:
        stamp(part, visitor, append, inner)
    if visitor is not None:
        visitor.on_chord_header_end(sig, **inner)
        headers = _together(headers, visitor.on_chord_body(sig, **headers))
    if sig.body is not None:
        stamp(sig.body, visitor, append, headers)


def _stamp_one(sig: Signature, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    stamp_links(sig, visitor, append, headers)
    if visitor is not None:
        headers = _together(headers, visitor.on_signature(sig, **headers), append)
    options, stamped = sig.options, headers.get("stamped_headers") or []
    for name, value in headers.items():
        if append and name in stamped and name in options and options[name] != value:
            options[name] = [*_listed(options[name]), *(one for one in _listed(value) if one not in _listed(options[name]))]
        elif name != "stamped_headers":
            options[name] = value
    options["stamped_headers"] = _once([*(options.get("stamped_headers") or ()), *stamped])


def _declared(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """With ``stamped_headers``: if they do not say which are stamps, all are."""
    given = dict(headers or {})
    given.setdefault("stamped_headers", list(given))
    return given


def _together(headers: Mapping[str, Any], more: Mapping[str, Any] | None, append: bool = False) -> dict[str, Any]:
    given = _declared(more)
    stamped = _once([*(headers.get("stamped_headers") or ()), *given["stamped_headers"]])
    nested = {
        name: _merged(headers[name], value, append)
        for name, value in given.items()
        if isinstance(value, Mapping) and isinstance(headers.get(name), Mapping)
    }
    return {**headers, **given, **nested, "stamped_headers": stamped}


def _merged(had: Mapping[str, Any], more: Mapping[str, Any], append: bool) -> dict[str, Any]:
    """A stamp that is a dict: what it had stays, and gets company where ``append`` says so."""
    both = {name: [had[name], value] for name, value in more.items() if name in had and had[name] != value}
    return {**more, **had, **(both if append else {})}


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


belongs_to("celery.canvas", StampingVisitor, GroupStampingVisitor)
