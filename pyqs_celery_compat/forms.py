"""The sealed text of a call that says nothing but its arguments, as most do: a form whose blanks are filled in.

Owns: ``Form``. Pure; runs where a task is called. Words nothing itself: a form is what ``outgoing`` makes of a call with marks
in it, taken apart at the marks, so that both write the same, letter by letter (a test holds it).

Headers, properties and their JSON were half of what a call cost (counted in instructions), and in all but eight values they
are those of the call before.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Any

from pyqs_celery_compat import serialization, typed_json
from pyqs_celery_compat.argument_repr import argument_repr
from pyqs_celery_compat.envelope import as_base64
from pyqs_celery_compat.outgoing import NOTHING_EMBEDDED, as_task_v2, seal_task
from pyqs_celery_compat.uuids import uuid

_BODY, _ID, _ROOT, _PARENT, _ARGS, _KWARGS, _TAG, _REPLY = _MARKS = [f"\0{number}" for number in range(8)]
_MARK = re.compile(r'"\\u0000(\d)"')


class Form:
    """What the messages of one task to one queue have in common, in protocol 2 and JSON.

    Parameters:
        name: the task's.
        exchange, routing_key, delivery_mode, priority: as for ``seal_task``.
        headers: as options for ``as_task_v2``: ``ignore_result``, ``time_limit``, ``soft_time_limit``.
    """

    __slots__ = ("_in_order", "_text")

    def __init__(
        self, name: str, *, exchange: str, routing_key: str, delivery_mode: Any, priority: int | None, **headers: Any
    ) -> None:
        message = as_task_v2(_ID, name, root_id=_ROOT, parent_id=_PARENT, reply_to=_REPLY, **headers)
        message.headers.update(argsrepr=_ARGS, kwargsrepr=_KWARGS)
        message.properties["delivery_tag"] = _TAG
        text = seal_task(
            message, routing_key=routing_key, exchange=exchange, priority=priority, delivery_mode=delivery_mode,
            outer_base64=False,
        )  # fmt: skip
        body = typed_json.dumps(as_base64(serialization.dumps(message.body).payload))
        pieces = _MARK.split(text.replace(body, typed_json.dumps(_BODY), 1))
        self._text = "%s".join(piece.replace("%", "%%") for piece in pieces[::2])
        self._in_order = itemgetter(*map(int, pieces[1::2]))

    def filled(
        self,
        task_id: str,
        args: Any,
        kwargs: Any,
        *,
        root_id: str | None,
        parent_id: str | None,
        reply_to: str,
        outer_base64: bool = True,
    ) -> str:
        """The SQS body of one call.

        Parameters:
            args, kwargs: a list or tuple, and a dict.
            root_id: None or "" for the call's own id.

        Raises:
            NotSerializable: an argument that JSON has no place for.
        """
        quoted = typed_json.dumps
        payload = serialization.dumps((args, kwargs, NOTHING_EMBEDDED)).payload
        own = quoted(task_id)
        blanks = (
            f'"{as_base64(payload)}"',
            own,
            quoted(root_id) if root_id else own,
            "null" if parent_id is None else quoted(parent_id),
            quoted(argument_repr(args)),
            quoted(argument_repr(kwargs)),
            f'"{uuid()}"',
            quoted(reply_to),
        )
        text = self._text % self._in_order(blanks)
        return as_base64(text.encode("ascii")) if outer_base64 else text
