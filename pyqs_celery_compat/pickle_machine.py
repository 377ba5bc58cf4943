"""A pickle reader that calls nothing by itself.

Owns: the opcodes of pickle protocols 0 to 5 that build containers, keep values and name things. Runs in an executor, on bytes
of unknown origin. What a global name is, what a call gives and whose state may be set are asked of a ``Rules`` object; without
its yes nothing is imported, called or changed. Extension codes, persistent ids and out-of-band buffers are refused. Nothing
recurses.

The standard unpickler is not used for this: it calls ``__setstate__``, ``extend``, ``add`` and ``__setitem__`` of whatever
lies on its stack, sets attributes on shared objects (classes included) and reserves memory that a number in the data asks for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Any, Protocol

from pyqs_celery_compat.pickle_atoms import ATOMS, STEP_LIMIT, U4, Cursor, MalformedPickle, copied, hash_cost

_STOP = 0x2E


class Rules(Protocol):
    """What a pickle may name, call and change. Each method raises what the caller shall see when the answer is no."""

    def find(self, module: str, name: str) -> Any:
        """The object that a global name stands for."""
        ...

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        """The result of REDUCE: ``function(*args)``."""
        ...

    def new(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of NEWOBJ and NEWOBJ_EX: ``cls.__new__(cls, *args, **kwargs)``."""
        ...

    def build(self, obj: Any, state: Any) -> None:
        """BUILD: give an object its state."""
        ...

    def set_items(self, obj: Any, pairs: list[tuple[Any, Any]]) -> None:
        """SETITEMS on anything but a plain dict."""
        ...

    def extend(self, obj: Any, items: list[Any]) -> None:
        """APPENDS on anything but a plain list."""
        ...

    def add(self, obj: Any, items: list[Any]) -> None:
        """ADDITEMS on anything but a plain set."""
        ...


class Machine(Cursor):
    """Runs one pickle. ``Machine(data, rules).run()`` gives its value."""

    __slots__ = ("marks", "memo", "rules")

    def __init__(self, data: bytes, rules: Rules) -> None:
        super().__init__(data)
        self.rules = rules
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Execute up to STOP.

        Raises:
            MalformedPickle: broken, truncated, over a limit, or an opcode that is never accepted.
            Exception: whatever the rules and the constructors of plain values raise.
        """
        data, handlers = self.data, _HANDLERS
        try:
            for _ in repeat(None, STEP_LIMIT):
                if (op := data[self.pos]) == _STOP:
                    break
                self.pos += 1
                handlers[op](self)
            else:
                raise MalformedPickle(f"it has more than {STEP_LIMIT} opcodes")
            value = self.stack.pop()
        except IndexError:
            raise MalformedPickle("truncated, or its stack is empty") from None
        except struct.error:
            raise MalformedPickle("truncated") from None
        return value

    def check_key(self, key: Any) -> None:
        """Refuse a key whose hash would cost more than its size."""
        cost = hash_cost(key)
        if cost is None:
            raise MalformedPickle("a key that is too deep or has no hash")
        self.spend(cost)

    def pop_mark(self) -> list[Any]:
        """What lies above the last mark."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    # -- stack, marks, memo ----------------------------------------------------------------------------------------

    def op_proto(self) -> None:
        if self.byte() > 5:
            raise MalformedPickle("an unknown pickle protocol")

    def op_frame(self) -> None:
        self.take(8)  # frames only help a reader of files

    def op_mark(self) -> None:
        self.spend(1)
        self.marks.append(self.stack)
        self.stack = []

    def op_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_pop_mark(self) -> None:
        self.pop_mark()

    def op_dup(self) -> None:
        self.stack.append(self.stack[-1])

    def op_memoize(self) -> None:
        self.spend(1)
        memo = self.memo
        memo[len(memo)] = self.stack[-1]

    def op_binput(self) -> None:
        self.memo[self.data[self.pos]] = self.stack[-1]
        self.pos += 1

    def op_long_binput(self) -> None:
        self.spend(1)
        self.memo[self.number(U4)] = self.stack[-1]

    def op_put(self) -> None:
        self.spend(1)
        self.memo[self.text_index()] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what was kept under a number."""
        try:
            self.stack.append(self.memo[index])
        except KeyError:
            raise MalformedPickle("it asks for a value it has not kept") from None

    def op_binget(self) -> None:
        self.recall(self.byte())

    def op_long_binget(self) -> None:
        self.recall(self.number(U4))

    def op_get(self) -> None:
        self.recall(self.text_index())

    def text_index(self) -> int:
        """A memo number written as text."""
        line = self.line()
        if not line.isdigit() or len(line) > 20:
            raise MalformedPickle("a memo number that is none")
        return int(line)

    # -- containers ------------------------------------------------------------------------------------------------

    def op_empty_list(self) -> None:
        self.spend(1)
        self.stack.append([])

    def op_empty_dict(self) -> None:
        self.spend(1)
        self.stack.append({})

    def op_empty_set(self) -> None:
        self.spend(4)  # an empty set takes 216 bytes
        self.stack.append(set())

    def tuple_of(self, size: int) -> None:
        """A tuple of the topmost values."""
        stack = self.stack
        if len(stack) < size:
            raise MalformedPickle("its stack is empty")
        self.spend(1)
        items = tuple(stack[-size:])
        del stack[-size:]
        stack.append(items)

    def op_tuple1(self) -> None:
        self.tuple_of(1)

    def op_tuple2(self) -> None:
        self.tuple_of(2)

    def op_tuple3(self) -> None:
        self.tuple_of(3)

    def op_tuple(self) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def op_list(self) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def op_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self.fill(items)

    def op_frozenset(self) -> None:
        items = self.pop_mark()
        for item in items:
            self.check_key(item)
        self.spend(4)
        self.stack.append(frozenset(items))

    def op_append(self) -> None:
        item = self.stack.pop()
        target = self.stack[-1]
        if type(target) is list:
            target.append(item)
        else:
            self.rules.extend(target, [item])

    def op_appends(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        else:
            self.rules.extend(target, items)

    def op_additems(self) -> None:
        items = self.pop_mark()
        for item in items:
            self.check_key(item)
        target = self.stack[-1]
        if type(target) is set:
            target.update(items)
        else:
            self.rules.add(target, items)

    def op_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill([key, value])

    def op_setitems(self) -> None:
        self.fill(self.pop_mark())

    def fill(self, flat: list[Any]) -> None:
        """Put key, value, key, value, ... into the mapping on top of the stack."""
        if len(flat) % 2:
            raise MalformedPickle("a key without a value")
        target, keys = self.stack[-1], flat[::2]
        for key in keys:
            if type(key) is not str:
                self.check_key(key)
        pairs = zip(keys, flat[1::2], strict=True)
        if type(target) is dict:
            target.update(pairs)
        else:
            self.rules.set_items(target, list(pairs))

    # -- names, calls, state ---------------------------------------------------------------------------------------

    def op_global(self) -> None:
        module, name = self.line().decode("utf-8"), self.line().decode("utf-8")
        self.push_global(module, name)

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise MalformedPickle("a global name that is no text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        """Ask the rules for a name."""
        self.spend(1)
        self.stack.append(self.rules.find(module, name))

    def call(self, function: Any, args: Any) -> None:
        """Push the result of a call that the rules make."""
        if type(args) is not tuple:
            raise MalformedPickle("arguments that are no tuple")
        self.spend(4 + copied(*args))
        self.stack.append(self.rules.call(function, args))

    def op_reduce(self) -> None:
        args = self.stack.pop()
        self.call(self.stack.pop(), args)

    def op_inst(self) -> None:
        self.op_global()
        function = self.stack.pop()
        items = self.pop_mark()
        self.call(function, tuple(items))

    def op_obj(self) -> None:
        function, *args = self.pop_mark() or [None]
        self.call(function, tuple(args))

    def op_newobj(self) -> None:
        args = self.stack.pop()
        self.make(self.stack.pop(), args, {})

    def op_newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        if type(kwargs) is not dict or not all(type(key) is str for key in kwargs):
            raise MalformedPickle("keyword arguments that are none")
        self.make(self.stack.pop(), args, kwargs)

    def make(self, cls: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Push a new object that the rules make."""
        if type(args) is not tuple:
            raise MalformedPickle("arguments that are no tuple")
        self.spend(4 + copied(*args))
        self.stack.append(self.rules.new(cls, args, kwargs))

    def op_build(self) -> None:
        state = self.stack.pop()
        self.spend(copied(state))
        self.rules.build(self.stack[-1], state)

    def op_refused(self) -> None:
        op = self.data[self.pos - 1]
        raise MalformedPickle(f"opcode {op:#04x} is unknown, or never accepted (extensions, persistent ids, buffers)")


_OPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine.op_proto,
    b"\x95": Machine.op_frame,
    b"(": Machine.op_mark,
    b"0": Machine.op_pop,
    b"1": Machine.op_pop_mark,
    b"2": Machine.op_dup,
    b"\x94": Machine.op_memoize,
    b"q": Machine.op_binput,
    b"r": Machine.op_long_binput,
    b"p": Machine.op_put,
    b"h": Machine.op_binget,
    b"j": Machine.op_long_binget,
    b"g": Machine.op_get,
    b"]": Machine.op_empty_list,
    b"}": Machine.op_empty_dict,
    b"\x8f": Machine.op_empty_set,
    b"\x85": Machine.op_tuple1,
    b"\x86": Machine.op_tuple2,
    b"\x87": Machine.op_tuple3,
    b"t": Machine.op_tuple,
    b"l": Machine.op_list,
    b"d": Machine.op_dict,
    b"\x91": Machine.op_frozenset,
    b"a": Machine.op_append,
    b"e": Machine.op_appends,
    b"\x90": Machine.op_additems,
    b"s": Machine.op_setitem,
    b"u": Machine.op_setitems,
    b"c": Machine.op_global,
    b"\x93": Machine.op_stack_global,
    b"R": Machine.op_reduce,
    b"i": Machine.op_inst,
    b"o": Machine.op_obj,
    b"\x81": Machine.op_newobj,
    b"\x92": Machine.op_newobj_ex,
    b"b": Machine.op_build,
}

#: one handler for each of the 256 opcodes.
_HANDLERS: list[Callable[[Any], None]] = [Machine.op_refused] * 256
for _table in (ATOMS, _OPS):
    for _code, _handler in _table.items():
        _HANDLERS[_code[0]] = _handler
