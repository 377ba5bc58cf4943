"""Task names of every kind, none of which a message may have run or imported."""

from __future__ import annotations

#: Tasks that ``hostile.tasks`` registers: the only ones that may ever run.
NATIVE = ("email_tasks.send_email", "my.custom.path", "hostile.tasks.native")
CELERY = ("spec.tasks.add", "spec.tasks.mul", "spec.tasks.bound", "spec.shared.one", "pak.täsk", "spec.tasks.limited")
#: Celery's own tasks that this project has; what they run is a registered task again.
BUILT_IN = ("celery.map", "celery.starmap", "celery.accumulate", "celery.backend_cleanup", "celery.chunks", "celery.group")
KNOWN = frozenset((*NATIVE, *CELERY, *BUILT_IN))

NOT_TASKS = (
    "os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.__import__", "builtins.open", "builtins.print",
    "subprocess.Popen", "subprocess.run", "subprocess", "shutil.rmtree", "pty.spawn", "ctypes.CDLL", "socket.socket",
    "antigravity.x", "this.s", "idlelib.run.main", "turtledemo.__main__.main", "lib2to3.main", "test.support.run",
    "webbrowser.open", "code.interact", "pdb.run", "runpy.run_module", "venv.create", "ensurepip.bootstrap", "pip.main",
    "pip._internal.main", "pytest.main", "_pytest.config.main", "boto3.client", "botocore.session.Session", "yaml.load",
    "yaml.unsafe_load", "msgpack.unpackb", "kombu.Connection", "kombu.serialization.pickle_loads", "django.setup",
    "hypothesis.find", "moto.server.main", "celery.Celery", "celery.app.task.Task",
    "celery.chain", "celery.chord", "celery.chord_unlock", "celery.group",
    "celery.ping", "pyqs.cli.main", "pyqs.registry.Registry", "pyqs.local.server.LocalServer",
    "pyqs.commands.worker.worker", "pyqs_celery_compat.pickles.loads_full", "pyqs_celery_compat.app.Celery",
    "pyqs.demo.run.run",
    "hostile.tasks.plain", "hostile.tasks.os.system", "hostile.tasks.native.__globals__", "hostile.tasks.native.delay",
    "hostile.tasks.__builtins__", "hostile.tasks.registry.register", "hostile.tasks", "hostile.fuzz.main", "hostile.nothing",
    "decoy.plain", "decoy.inner.plain", "decoy.inner.deep.plain", "decoy.__main__.main", "decoy", "decoy.nothing_here",
    "script.main", "setup.main", "conftest.anything", "conftest", "not_python.x", "broken_source.x", "link.plain",
    "namespace_only.mod.plain", "__main__.main", "__main__", "__init__.x", "__builtins__.eval",
    "__class__.__init__.__globals__",
    ".os.system", "..os.system", "...", ".", "..", "os.", "os..system", "os:system", "os.system()", "os/system",
    "../decoy.plain",
    "/etc/passwd", "./decoy.plain", "decoy/inner.plain", "decoy\\inner.plain", "file:///etc/passwd", "http://127.0.0.1/x.y",
    "C:\\x.y", "decoy.plain\x00", "decoy\x00.plain", "\x00", "\n", "decoy.plain\nspoofed line", "\x1b[2Jdecoy.plain",
    "\r\n\r\n",
    "оs.system", "os․system", "ｏｓ.ｓｙｓｔｅｍ", "𝐨𝐬.𝐬𝐲𝐬𝐭𝐞𝐦", "decoy．plain", "deсoy.plain", "dеcoy.plain",
    "ｄｅｃｏｙ.plain",
    "spec.tasks.аdd", "spec.tasks.add ", " spec.tasks.add", "spec.tasks.add\u200b", "\u202espec.tasks.add", "SPEC.TASKS.ADD",
    "spec.tasks", "spec", "spec.tasks.add.run", "spec.tasks.add.apply_async", "\ud800.x", "decoy.\udfff", "\U0010ffff.x",
    "e\u0301.x",
    "class.x", "lambda.x", "None.x", "True", "", " ", "a" * 5000, "a." * 3000 + "b", "a" * 300 + ".b",
    "decoy." * 400 + "plain",
    "é" * 300 + ".x", "%s%s%s%n", "{0.__class__}", "${jndi:ldap://x}", "$(touch pwned)", "`touch pwned`", "'; DROP TABLE",
    "<b>x</b>",
    "sitecustomize.x", "usercustomize.x", "zipimport.zipimporter", "importlib.import_module",
    "_frozen_importlib._find_and_load",
    "encodings.rot_13.x", "lib.python.x", "site-packages.x", "_distutils_hack.x", "mypy.main.main", "ruff.__main__.x",
)  # fmt: skip
