"""What a value in the source is, as far as it can be told without running anything.

Owns: ``Value`` and ``fold``: constants, containers of them, arithmetic, the beginning of an f-string, a name that the module
binds once. Pure. What comes from the environment or a call is not known, and nothing is guessed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

#: How deep names lead to names.
_DEPTH = 8
#: The longest text or list that arithmetic may make, and the largest power that is computed.
_LARGEST = 10_000
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


class Value(NamedTuple):
    """A value, if it is known.

    Parameters:
        known: whether ``value`` is all of it. value: what it is, or the text that it begins with.
    """

    known: bool
    value: Any = None

    def begins(self) -> str | None:
        """The text that it begins with; None if it may be anything."""
        return self.value if isinstance(self.value, str) else None


UNKNOWN = Value(False)


def fold(node: ast.AST | None, names: Callable[[str], ast.AST | None] = lambda name: None, depth: int = 0) -> Value:
    """The value of an expression.

    Parameters:
        names: the expression that a name stands for, or None.
    """
    if depth > _DEPTH:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return Value(True, node.value)
    if isinstance(node, ast.Name):
        found = names(node.id)
        return UNKNOWN if found is None else fold(found, names, depth + 1)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        parts = [fold(one, names, depth + 1) for one in node.elts]
        return Value(all(part.known for part in parts), [part.value for part in parts])
    if isinstance(node, ast.Dict):
        return _dict(node, names, depth)
    if isinstance(node, ast.JoinedStr):
        return _joined(node, names, depth)
    if isinstance(node, ast.UnaryOp):
        inner = fold(node.operand, names, depth + 1)
        if inner.known and isinstance(node.op, ast.Not):
            return Value(True, not inner.value)
        if inner.known and isinstance(node.op, ast.USub) and isinstance(inner.value, (int, float)):
            return Value(True, -inner.value)
    if isinstance(node, ast.BinOp):
        return _computed(node, names, depth)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        pairs = {word.arg: fold(word.value, names, depth + 1) for word in node.keywords if word.arg}
        return Value(all(one.known for one in pairs.values()), {key: one.value for key, one in pairs.items()})
    return UNKNOWN


def _dict(node: ast.Dict, names: Callable[[str], ast.AST | None], depth: int) -> Value:
    known, found = True, {}
    for key, item in zip(node.keys, node.values, strict=True):
        name, value = fold(key, names, depth + 1), fold(item, names, depth + 1)
        if key is None or not name.known or not isinstance(name.value, (str, int)):
            known = False
            continue
        known = known and value.known
        found[name.value] = value.value
    return Value(known, found)


def _joined(node: ast.JoinedStr, names: Callable[[str], ast.AST | None], depth: int) -> Value:
    text = ""
    for part in node.values:
        one = fold(part.value if isinstance(part, ast.FormattedValue) else part, names, depth + 1)
        if not one.known:
            return Value(False, text or None)
        text += str(one.value)
    return Value(True, text)


def _computed(node: ast.BinOp, names: Callable[[str], ast.AST | None], depth: int) -> Value:
    compute = _ARITHMETIC.get(type(node.op))
    left, right = fold(node.left, names, depth + 1), fold(node.right, names, depth + 1)
    if compute is not None and left.known and right.known:
        sizes = [len(one.value) if hasattr(one.value, "__len__") else 0 for one in (left, right)]
        if sum(sizes) <= _LARGEST and not (isinstance(node.op, ast.Mult) and any(sizes)):
            try:
                return Value(True, compute(left.value, right.value))
            except Exception:  # 1 / 0, "a" - 1: the module itself raises there
                return UNKNOWN
    if isinstance(node.op, ast.Add) and left.begins():
        return Value(False, left.value)
    return UNKNOWN


def items(node: ast.AST | None) -> list[tuple[str, ast.AST, ast.AST]]:
    """(key, where the key stands, value) of a dict that is written out, or of ``dict(...)``; else nothing."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [(key.value, key, value) for key, value in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return [(word.arg, word, word.value) for word in node.keywords if word.arg]
    return []
