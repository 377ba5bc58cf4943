"""Calls of the functions that libraries use of ``celery.utils`` and its neighbours, with what they answer, as JSON.

Run by genuine Celery 5.7 (``library_celery57.json`` is what it printed) and, by the tests, under the alias.
"""

import contextlib
import datetime
import json
import sys

if "--alias" in sys.argv:
    from pyqs_celery_compat import install_as_celery

    install_as_celery()
from celery import local, platforms
from celery.utils import collections, functional, imports, nodenames, objects, saferepr, serialization, text, threads

ANSWERS = {}


def call(name, function, /, *args, **kwargs):
    try:
        answer = function(*args, **kwargs)
        answer = list(answer) if hasattr(answer, "__next__") else answer
        ANSWERS[name] = repr(answer)
    except Exception as exc:
        ANSWERS[name] = type(exc).__name__


class Named(dict):
    first = objects.getitem_property("one")
    inner = objects.getitem_property("outer.inner")


class Base:
    here = 1


class Derived(Base):
    pass


class Unpickleable(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def function(a, b=1, *, c):
    pass


def members():
    made = collections.LimitedSet(maxlen=2)
    for letter in "abac":
        made.add(letter)
    return list(made), "b" in made, len(made), repr(made)


def layers():
    made = collections.ChainMap({"a": 1}, {"b": 2})
    made.add_defaults({"b": 3, "c": 4})
    made["d"] = 5
    return sorted(made.items()), made.maps, made.changes, made.get("x"), len(made), bool(collections.ChainMap())


def stacks():
    stack = threads.LocalStack()
    stack.push(1)
    stack.push(2)
    return stack.top, list(stack.stack), len(stack), stack.pop(), stack.pop(), stack.pop(), stack.top


def ignored(name, number):
    with platforms.ignore_errno(name, types=(OSError,)):
        raise OSError(number, "x")
    return "swallowed"


def fallback(given):
    with objects.FallbackContext(given, contextlib.nullcontext, "made") as value:
        return value


call("abbr", text.abbr, "hello world", 5)
call("abbrtask", text.abbrtask, "proj.app.tasks.add_more", 16)
call("truncate", text.truncate, "hello world there", 12)
call("truncate short", text.truncate, "hello", 12)
call("dedent", text.dedent, "    a\n        b")
call("fill_paragraphs", text.fill_paragraphs, "aaa bbb ccc\n\nddd eee", 5)
call("indent", text.indent, "a\nb", 2)
call("join", text.join, ["a", "", "b", None])
call("pluralize", lambda: [text.pluralize(n, "thing") for n in (0, 1, 2)])
call("pretty", text.pretty, {"a": 1, "b": [1, 2]})
call("str_to_list", text.str_to_list, "a, b,c")
call("simple_format", text.simple_format, "%a-%%", {"a": "x"})
call("simple_format unknown", text.simple_format, "%z", {"a": "x"})
call("match_case", lambda: [text.match_case("aBc", "X"), text.match_case("aBc", "x")])
call("ensure_newlines", lambda: [text.ensure_newlines("a"), text.ensure_newlines("a\n\n\n")])
call("remove_repeating", text.remove_repeating_from_task, "t.add", "[t.add(2), t.add(3), my.t.add(4)]")
call("chunks", functional.chunks, iter([1, 2, 3, 4, 5]), 2)
call("padlist", functional.padlist, ["a"], 3, "z")
call("mattrgetter", functional.mattrgetter("real", "foo"), 3)
call("uniq", functional.uniq, [3, 1, 3, 2])
call("first", functional.first, lambda x: x > 1, [1, 2, 3])
call("first without", functional.first, None, [None, 0, 3])
call("firstmethod", functional.firstmethod("bit_length"), [1, 2])
call("lookahead", functional.lookahead, [1, 2, 3])
call("maybe_list", lambda: [functional.maybe_list(x) for x in (1, None, (1,), "a")])
call("regen", lambda: [functional.regen(iter([1, 2]))[1], list(functional.regen(iter([1, 2]))), functional.regen([1])])
call("head", functional.head_from_fun(function), 1, c=2)
call("head missing", functional.head_from_fun(function), 1)
call("head too many", functional.head_from_fun(function), 1, 2, 3, c=1)
call("arity", lambda: [functional.arity_greater(lambda a, b: 1, n) for n in (1, 2)])
call("kwargs", lambda: [functional.fun_accepts_kwargs(f) for f in (lambda **k: 1, lambda k: 1)])
call("concat", lambda: [functional.seq_concat_item((1,), 2), functional.seq_concat_seq([1, 2], (3,))])
call("numeric", lambda: [functional.is_numeric_value(x) for x in (1, 1.5, True, "1")])
call("mlazy", lambda: functional.mlazy(lambda: 3)())
call("noop", functional.noop, 1, a=2)
call("node", lambda: [nodenames.nodename("a", "b"), nodenames.nodesplit("a@b"), nodenames.nodesplit("b")])
call("default_nodename", lambda: [nodenames.default_nodename("h"), nodenames.default_nodename("w@h")])
call("node_format", nodenames.node_format, "%n-%h-%d-%i-%I-%p-%%", "w@h.example.com")
call("host_format", nodenames.host_format, "%n %h %d", host="a.b.c", name="nm")
call("worker_direct", lambda: [getattr(nodenames.worker_direct("w@h"), n) for n in ("name", "routing_key", "auto_delete")])
call("strtobool", lambda: [serialization.strtobool(x) for x in ("yes", "Off", "1", 3, None)])
call("strtobool unknown", serialization.strtobool, "maybe")
call("base64", lambda: [serialization.b64encode("ab"), serialization.b64decode("YWI=")])
call("pickleable", serialization.get_pickleable_exception, ValueError(1))
call("unpickleable", lambda: str(serialization.get_pickleable_exception(Unpickleable(1, 2))))
call("restored", lambda: repr(serialization.get_pickled_exception(serialization.get_pickleable_exception(Unpickleable(1, 2)))))
call(
    "exception class",
    lambda: [str(serialization.create_exception_cls("Foo", "mod")), serialization.get_pickleable_etype(KeyError)],
)
call("jsonify", serialization.jsonify, {"a": datetime.datetime(2020, 1, 1), "b": (1, 2), "c": datetime.timedelta(1)})
call("jsonify unknown", serialization.jsonify, object())
call("ensure_serializable", serialization.ensure_serializable, [1, {2}], json.dumps)
call("qualname", lambda: [imports.qualname(json.JSONDecoder), imports.qualname(json.dumps), imports.qualname("x")])
call(
    "symbol_by_name",
    lambda: [imports.symbol_by_name("json:dumps") is json.dumps, imports.symbol_by_name("no.such:x", default=3)],
)
call("symbol_by_name missing", imports.symbol_by_name, "json.no_such_name")
call("symbol_by_name alias", lambda: imports.symbol_by_name("x", {"x": "json.dumps"}) is json.dumps)
call("instantiate", imports.instantiate, "fractions.Fraction", 1, 2)
call("not a package", imports.find_module, "json.decoder.x")
call("attributes", lambda: vars(objects.Bunch(a=1)))
call("items as properties", lambda: [Named(one=1, outer={"inner": 2}).first, Named(one=1, outer={"inner": 2}).inner])
call("mro", lambda: [objects.mro_lookup(Derived, "here") is Base, objects.mro_lookup(Derived, "here", stop={Base})])
call("fallback", lambda: [fallback(None), fallback("given")])
call("limited set", members)
call("layers", layers)
call("attribute dict", lambda: [collections.AttributeDict(a=1).a, collections.DictAttribute(Base())["here"]])
call("attribute dict missing", lambda: collections.AttributeDict(a=1).b)
call("lpmerge", collections.lpmerge, {"a": 1, "b": 2}, {"a": None, "b": 3})
call("stack", stacks)
call("saferepr", saferepr.saferepr, {"a": ["x" * 20, (1,)]}, maxlen=16)
call("saferepr whole", saferepr.saferepr, {"a": [1, (2,), "z", None, b"y"]})
call("try_import", local.try_import, "no.such.module", 3)
call("maybe_evaluate", lambda: local.maybe_evaluate(local.PromiseProxy(lambda: 3)))
call(
    "proxy",
    lambda: [local.Proxy(lambda: 20) / 2 == local.Proxy(lambda: 10), local.Proxy(lambda: 1) + 1, local.Proxy(lambda: {})],
)
call("signal", lambda: [platforms.signal_name(9), platforms.signals.signum("TERM"), platforms.signals.supported("FOO")])
call("signal small", platforms.signals.signum, "term")
call("errno", lambda: ignored("ENOENT", 2))
call("errno other", lambda: ignored("EPERM", 2))
call("user", lambda: [platforms.parse_uid("root"), platforms.parse_uid(5), platforms.parse_gid("root")])
call("user unknown", platforms.parse_uid, "no-such-user")
call("exit codes", lambda: [platforms.EX_OK, platforms.EX_FAILURE, platforms.EX_UNAVAILABLE, platforms.EX_USAGE])
call("title", platforms.set_process_title, "a", "b")

json.dump(ANSWERS, sys.stdout, indent=1, sort_keys=True)
print()
