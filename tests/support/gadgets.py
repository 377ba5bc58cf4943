"""Hostile pickles: every way that is known in which a pickle runs code, reaches into the interpreter, or asks for too much.

Owns: the gadgets and bombs that the codec's tests try one by one and the chaos suite mixes into others' pickles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: functions and classes that run code, import, or reach into the interpreter, under the names of both Pythons
NAMES = re.findall(
    r"\S+",
    """
os.system posix.system nt.system os.popen posix.popen os.execv os.posix_spawn os._exit sys.exit sys.setprofile
builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.open builtins.input builtins.breakpoint
builtins.getattr builtins.setattr builtins.delattr builtins.vars builtins.globals builtins.map builtins.filter builtins.print
builtins.type builtins.object builtins.super builtins.list builtins.tuple builtins.str builtins.int builtins.memoryview
__builtin__.eval __builtin__.execfile __builtin__.apply __builtin__.file __builtin__.__import__ __builtin__.getattr
__builtin__.reload __builtin__.unicode __builtins__.eval __builtins__.getattr exceptions.eval exceptions.__import__
operator.attrgetter operator.methodcaller operator.itemgetter operator.call functools.partial functools.reduce
importlib.import_module importlib.__import__ importlib._bootstrap._load imp.load_source runpy.run_path runpy.run_module
subprocess.Popen subprocess.call subprocess.check_output subprocess.run commands.getoutput popen2.popen2 platform.popen
shutil.rmtree shutil.move pydoc.pipepager pydoc.locate webbrowser.open timeit.timeit timeit.main cProfile.run profile.run
pdb.run bdb.Bdb doctest.debug_script code.interact code.InteractiveInterpreter pty.spawn ctypes.CDLL marshal.loads
pickle.loads _pickle.loads cPickle.loads pickle.Unpickler codecs.escape_decode codecs.decode codecs.encode _codecs.decode
types.CodeType types.FunctionType types.MethodType types.SimpleNamespace new.code copyreg.add_extension copyreg.pickle
copyreg.__newobj_ex__ copy_reg._reduce_ex collections.namedtuple collections.UserDict collections._sys datetime._strptime
decimal.setcontext decimal.Context decimal.getcontext uuid.getnode uuid._load_system_functions zoneinfo.reset_tzpath
zoneinfo.ZoneInfo pytz.timezone pytz.open_resource pytz.os enum.Enum string.Formatter weakref.finalize atexit.register
signal.signal threading.Thread gc.get_objects inspect.getattr_static logging.config.dictConfig socket.socket
urllib.request.urlopen http.client.HTTPConnection smtplib.SMTP requests.get tempfile.mktemp fileinput.input linecache.getline
site.main ensurepip._run_pip pip.main pip._internal.main antigravity.x this.s venv.create multiprocessing.util.Finalize
asyncio.create_subprocess_shell celery.app.task.Task celery.Celery celery.utils.imports.symbol_by_name
kombu.utils.imports.symbol_by_name kombu.serialization.pickle_loads django.utils.module_loading.import_string
yaml.unsafe_load numpy.testing._private.utils.runstring torch.load __main__.main pyqs.cli.main
pyqs_celery_compat.pickles.loads_full
""",
)


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def gadgets(sentinel: str) -> Iterator[tuple[str, bytes]]:
    """Name -> opcodes that push one value."""
    arg = text(f"touch {sentinel}")
    for full in NAMES:
        module, _, name = full.rpartition(".")
        yield f"reduce {full}", f"c{module}\n{name}\n".encode() + arg + b"\x85R"
    system = b"cos\nsystem\n"
    yield "inst", b"(" + arg + b"ios\nsystem\n"
    yield "obj", b"(" + system + arg + b"o"
    yield "newobj", b"csubprocess\nPopen\n" + arg + b"\x85\x81"
    yield "newobj_ex", b"csubprocess\nPopen\n" + arg + b"\x85}\x92"
    yield "newobj_ex plain type with kwargs", b"cdatetime\ntimedelta\n)}" + text("days") + b"K\x01s\x92"
    yield "stack_global", stack_global("os", "system") + arg + b"\x85R"
    yield "stack_global dotted", stack_global("os", "path.os.system") + arg + b"\x85R"
    yield "dotted through an allowed class", stack_global("datetime", "datetime.__init__.__globals__") + b")R"
    yield "dotted through an allowed module", stack_global("uuid", "os.system") + arg + b"\x85R"
    yield "dotted exception", stack_global("builtins", "ValueError.__init__") + arg + b"\x85R"
    yield "dotted foreign exception", stack_global("myapp.errors", "os.systemError") + arg + b"\x85R"
    yield "stack_global with a non-text name", b"K\x01K\x02\x93"
    yield "function as a value", b"c_codecs\nencode\n"
    yield "exception class as a value", b"cmyapp.errors\nTooBad\n"
    yield "function in an exception", b"cbuiltins\nValueError\nc_codecs\nencode\n\x85R"
    getattr_ = b"cbuiltins\ngetattr\n"
    yield "getattr chain", getattr_ + getattr_ + b"cuuid\nUUID\n" + text("__init__") + b"\x86R" + text("__globals__") + b"\x86R"
    yield "getattr on ZoneInfo", getattr_ + b"czoneinfo\nZoneInfo\n" + text("__subclasses__") + b"\x86R"
    yield "getattr py2", b"c__builtin__\ngetattr\ncuuid\nUUID\n" + text("__init__") + b"\x86R"
    yield "getattr of three", getattr_ + b"cuuid\nUUID\n" + text("x") + system + b"\x87R"
    yield "reconstructor of a foreign class", b"ccopy_reg\n_reconstructor\n(csubprocess\nPopen\nc__builtin__\nobject\nNtR"
    yield "reconstructor of a dict's state", b"ccopyreg\n_reconstructor\n(cbuiltins\nlist\ncbuiltins\ndict\n}tR"
    yield "__newobj__ of a foreign class", b"ccopyreg\n__newobj__\ncsubprocess\nPopen\n" + arg + b"\x86R"
    yield "build: set an attribute of a class", b"cuuid\nUUID\nN}" + text("__init__") + system + b"s\x86b"
    yield "build: a class's dict", b"cuuid\nUUID\n}" + text("__init__") + b"K\x01sb"
    yield "build: an attribute of a function", b"c_codecs\nencode\n}" + text("__code__") + b"K\x01sb"
    yield "build: defaults of a function", b"c_codecs\nencode\nN}" + text("__defaults__") + b")s\x86b"
    yield "build: an exception class", b"cbuiltins\nValueError\n}" + text("x") + b"K\x01sb"
    yield "build: a list", b"]}" + text("append") + b"K\x01sb"
    yield "build: an OrderedDict", b"ccollections\nOrderedDict\n)R}" + text("items") + b"cbuiltins\nbytearray\nsb"
    yield (
        "build: OrderedDict.__setstate__",
        b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + system + b"sb" + arg + b"b",
    )
    yield "build: a UUID that is none", b"cuuid\nUUID\n)\x81}" + text("int") + text("x") + b"sb"
    yield "build: a state that is no dict", b"cuuid\nUUID\n)\x81K\x01b"
    yield "build: slots of an exception", b"cbuiltins\nValueError\n)RN}" + text("args") + b"K\x01s\x86b"
    yield "call a value", text("x") + b")R"
    yield "call an instance", b"cbuiltins\nValueError\n)R)R"
    yield "call with a list", b"cbuiltins\nset\n]R"
    yield "append to an exception", b"cbuiltins\nValueError\n)RK\x01a"
    yield "items of an exception", b"cbuiltins\nValueError\n)RK\x01K\x02s"
    yield "members of a list", b"](K\x01\x90"
    yield "items of a class", b"cbuiltins\nlist\nK\x01K\x02s"
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"Pevil\n", b"K\x01Q", b"\x97", b"K\x01\x98", b"\xff"):
        yield f"opcode {code[-1:].hex()} {code[:1].hex()}", code
    yield "encode to a codec that runs", b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R"
    yield "encode with three", b"c_codecs\nencode\n" + text("x") + text("utf-8") + text("evil") + b"\x87R"
    yield "defaultdict of a function", b"ccollections\ndefaultdict\nc_codecs\nencode\n\x85R"
    yield "defaultdict of an exception", b"ccollections\ndefaultdict\ncbuiltins\nValueError\n\x85R"
    yield "zone outside the zones", b"czoneinfo\nZoneInfo._unpickle\n" + text("../../etc/passwd") + b"K\x01\x86R"
    yield "pytz zone outside the zones", b"cpytz\n_p\n" + text("../../etc/passwd") + b"\x85R"
    yield "signature that is no dict", b"ccelery.canvas\nsignature\n" + arg + b"\x85R"


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small data that asks for much memory or time."""
    large = b"\x8a\x06\x00\x00\x00\x00\x00\x40"  # 2**46
    yield "bytearray of a number", b"cbuiltins\nbytearray\n" + large + b"\x85R"
    yield "bytes of a number", b"c__builtin__\nbytes\n" + large + b"\x85R"
    yield "list of a range", b"cbuiltins\nlist\ncbuiltins\nrange\n" + large + b"\x85R\x85R"
    yield "set of a range", b"cbuiltins\nset\ncbuiltins\nrange\n" + large + b"\x85R\x85R"
    yield "deque of a range", b"ccollections\ndeque\ncbuiltins\nrange\n" + large + b"\x85R\x85R"
    yield "deque over the size of a number", b"ccollections\ndeque\n]\x8a\x09" + b"\xff" * 8 + b"\x00\x86R"
    yield "text larger than the data", b"X\xff\xff\xff\x7fx"
    yield "text larger than memory", b"\x8d" + b"\xff" * 7 + b"\x7fx"
    yield "bytes larger than memory", b"\x8e" + b"\xff" * 7 + b"\x7fx"
    yield "bytearray larger than memory", b"\x96" + b"\xff" * 7 + b"\x7fx"
    yield "a negative length", b"\x8b\xff\xff\xff\xffx"
    yield "a number of many digits", b"L" + b"9" * 100_000 + b"L\n"
    yield "a plain number of many digits", b"I" + b"9" * 100_000 + b"\n"
    yield "a key that shares its parts", b"}K\x01" + b"2\x86" * 60 + b"Ns"
    yield "a member that shares its parts", b"\x8f(K\x01" + b"2\x86" * 60 + b"\x90"
    yield "a set's member that shares its parts", b"cbuiltins\nset\n](K\x01" + b"2\x86" * 60 + b"e\x85R"
    yield "a key nested deeply", b"})" + b"\x85" * 100_000 + b"Ns"
    yield "a frozenset nested deeply", b"(" * 100_000 + b"\x91" * 100_000
    yield "a fraction of a large power", b"cfractions\nFraction\n" + text("1e999999999") + b"\x85R"
    yield "a decimal that is none", b"cdecimal\nDecimal\n" + text("x" * 100) + b"\x85R"
    yield "a timedelta over the range", b"cdatetime\ntimedelta\n" + large + b"\x85R"
