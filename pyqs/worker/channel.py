"""The worker's end of the pipe to one child: frames out and in, none of which ever blocks.

Owns: the bytes that wait until the pipe takes them, and those of a frame that has not come whole. Used by the thread that looks
after the child. Never closes the socket, and never acts on a frame.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pyqs.wire import Frame, FrameReader, encode

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
#: Small frames go out together, so many at most: one call for a handful of deliveries.
_TOGETHER = 64


@dataclass(eq=False, slots=True)
class _Outgoing:
    data: memoryview
    delivery_id: int | None
    begun: bool = False


class Channel:
    """One pipe.

    Parameters:
        end: the worker's end of the socket pair.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._outgoing: deque[_Outgoing] = deque()
        self._reader = FrameReader()

    def queue(self, frame: Frame, delivery_id: int | None) -> None:
        """Have this written when the pipe takes it."""
        self._outgoing.append(_Outgoing(memoryview(encode(frame)), delivery_id))

    def take_back(self) -> list[int]:
        """The ids of deliveries of which no byte was written, which will not be."""
        back = [one for one in self._outgoing if one.delivery_id is not None and not one.begun]
        self._outgoing = deque(one for one in self._outgoing if one not in back)
        return [one.delivery_id for one in back if one.delivery_id is not None]

    def write(self) -> bool:
        """Write what the pipe takes now; whether nothing is left. A broken pipe is seen when it is read."""
        while self._outgoing:
            part = self._outgoing[0]
            try:
                if len(self._outgoing) > 1:
                    sent = self._end.sendmsg([one.data for one in islice(self._outgoing, _TOGETHER)])
                else:
                    sent = self._end.send(part.data)
            except BlockingIOError:
                return False
            except OSError:
                self._outgoing.clear()
                break
            while sent:
                part = self._outgoing[0]
                if sent < len(part.data):
                    part.data = part.data[sent:]
                    part.begun = True
                    break
                sent -= len(part.data)
                self._outgoing.popleft()
        return True

    def read(self, whose: object, *, everything: bool = False) -> Iterator[Frame]:
        """Every whole frame that has come, or what one read brings; the rest is there for the next.

        Raises:
            EOFError: the child has closed its end, after the frames before that.
        """
        while True:
            try:
                data = self._end.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError as exc:
                raise EOFError(str(exc)) from None
            if not data:
                raise EOFError("end of stream")
            try:
                yield from self._reader.feed(data)
            except (ValueError, TypeError) as exc:
                log.error("%s wrote what is no frame: %s", whose, exc)
                raise EOFError("not a frame") from None
            if len(data) < _CHUNK and not everything:
                return
