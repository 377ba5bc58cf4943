"""Every check of the project. ``nox`` alone runs lint, types and the tests on the Python at hand.

Owns: the sessions named in README.md. Runs on a developer's machine and in CI. Never talks to AWS, except the session
``aws``, which says so and uses your own credentials.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
#: uv, where it is there, makes an environment in a tenth of pip's time. What it installs is compiled, as by pip.
nox.options.default_venv_backend = "uv|virtualenv"
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")

ROOT = Path(__file__).parent
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
#: Much of a test's time is waiting for a process: five at a time keep two cores busy.
ABREAST = ("-n", "5", "--dist", "worksteal")
#: Redis is what the same scenarios are recorded on.
CELERY57 = "celery[sqs,redis,sqlalchemy,msgpack,yaml,pydantic]==5.7.0"
MOTO = "moto[server]>=5.2"
MINISTACK = "ministack>=1.5"
PSYCOPG = "psycopg[binary]>=3.1"
#: Fetches archives in some sessions; uv's environments are without it.
PIP = "pip"
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """The path of a Python of this version: on PATH if it really starts, else one that pyenv keeps."""
    candidates = [shutil.which(f"python{version}")]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(p) for p in sorted(versions.glob(f"{version}.*/bin/python{version}"), reverse=True)]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


AT_HAND = [path for path in map(interpreter, SUPPORTED) if path] or [sys.executable]


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style, imports, a few security rules; and its formatter, checked only."""
    session.install("ruff>=0.17,<0.18")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over both packages, and over the files that hold what a user's editor sees."""
    session.install("-e", ".[dev]")
    session.run("mypy", "pyqs", "pyqs_celery_compat")
    session.run("mypy", "--strict", "tests/types/native_api.py", "tests/types/compat_api.py")


@nox.session(name="django-types")
def django_types(session: nox.Session) -> None:
    """mypy --strict over the Django example, as its author would run it: with celery-types and django-stubs."""
    session.install(".", "mypy>=2.4,<3", "celery-types>=0.26", "django-stubs>=6.1")
    session.chdir("tests/examples/django_project")
    session.run("mypy", ".", env={"PYTHONPATH": "."})


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow suites, on the Python at hand."""
    session.install(".[test]")
    session.run("pytest", *ABREAST, "-m", "not slow", *session.posargs)


@nox.session(name="tests-all", python=AT_HAND)
def tests_all(session: nox.Session) -> None:
    """The same tests on every supported Python that is installed here."""
    session.install(".[test]")
    session.run("pytest", *ABREAST, "-m", "not slow", *session.posargs)


@nox.session
def floor(session: nox.Session) -> None:
    """The tests against the oldest version of each dependency that pyproject allows."""
    session.install(".[test]", "-c", "tests/floor.txt")
    session.run("pytest", *ABREAST, "-m", "not slow", *session.posargs)


@nox.session(python=AT_HAND)
def readme(session: nox.Session) -> None:
    """The README's first command, in a fresh environment of each Python: install, then the demo."""
    session.install(".")
    session.chdir(session.create_tmp())
    session.run("pyqs", "demo")


def peer(session: nox.Session, name: str, pythons: tuple[str, ...], *requirements: str) -> str | None:
    """A virtual environment with another project's release; its python, or None where no fitting Python is here."""
    home = ROOT / ".nox" / "peers" / name
    python = home / "bin" / "python"
    complete = home / "complete"
    if not complete.exists() or complete.read_text() != " ".join(requirements):
        base = next(filter(None, map(interpreter, pythons)), None)
        if base is None:
            session.warn(f"no Python of {pythons} here: {name} is left out")
            return None
        shutil.rmtree(home, ignore_errors=True)
        if UV:
            session.run(UV, "venv", "-q", "-p", base, str(home), external=True)
            session.run(UV, "pip", "install", "-q", "-p", str(python), *requirements, external=True)
        else:
            session.run(base, "-m", "venv", str(home), external=True)
            session.run(str(python), "-m", "pip", "install", "-q", *requirements, external=True)
        complete.write_text(" ".join(requirements))
    return str(python)


#: In the order in which we would have one for all who are measured or compared, as far as they run on it.
PYTHONS = ("3.12", "3.13", "3.11", "3.10")
ONE_PYTHON = next(filter(None, map(interpreter, PYTHONS)), sys.executable)


def celery57(session: nox.Session) -> str | None:
    """The environment with Celery 5.7 that several sessions share."""
    return peer(session, "celery57", PYTHONS, CELERY57, PSYCOPG, "pytest>=8.0", "pytest-timeout>=2.3")


@nox.session
def interop(session: nox.Session) -> None:
    """Real Celery 5.7 and 4.4 and PyQS 1.0.1 on the other side, as processes. ``-- --short`` is CI's form."""
    args = list(session.posargs)
    short = "--short" in args
    if short:
        args.remove("--short")
    session.install(".[test]", PSYCOPG)
    peers = {
        # DynamoDB, S3 and Lambda, whose functions need what we need; it pins its own botocore
        "PYQS_CONTRACT_PYTHON": peer(
            session, "ministack", PYTHONS, MINISTACK, "boto3", "kombu>=5.3.7", "vine>=5.1", "click>=8.1", "rich>=13.7"
        )
    }
    peers |= {"PYQS_INTEROP_CELERY57": celery57(session)}
    peers["PYQS_INTEROP_BESIDE"] = peer(  # with what this package needs beside Celery: both in one environment
        session, "celery57beside", PYTHONS, "celery[sqs,msgpack,yaml]==5.7.0", "rich>=13.7", "prometheus-client>=0.20",
    )  # fmt: skip
    peers["PYQS_INTEROP_EXTENDED"] = peer(session, "extended", PYTHONS, "amazon-sqs-extended-client==1.0.1")
    if not short:
        peers["PYQS_INTEROP_CELERY44"] = peer(
            session, "celery44", ("3.8", "3.7", "3.6"), "celery==4.4.7", "kombu==4.6.11", "boto3", "msgpack", "pyyaml", "pytz",
            "importlib-metadata<5", "setuptools<60",
        )  # fmt: skip
        peers["PYQS_INTEROP_CELERY44_WORKER"] = peer(  # its kombu can only receive with a boto3 of its time
            session, "celery44worker", ("3.8", "3.7"), "celery==4.4.7", "kombu==4.6.11", "boto3<1.28", "msgpack", "pyyaml",
            "pytz", "importlib-metadata<5", "setuptools<60", "pycurl==7.45.3",
        )  # fmt: skip
        peers["PYQS_INTEROP_PYQS1"] = peer(session, "pyqs1", ("3.11", "3.12", "3.10"), "pyqs==1.0.1")
    env = {name: path for name, path in peers.items() if path}
    ours_beside_celerys = (
        "tests/compat/app/test_like_celery.py", "tests/compat/scenarios", "tests/compat/alias", "tests/compat/testing",
    )  # fmt: skip
    on_real_stores = ("tests/compat/results",)  # ministack and psycopg are here
    session.run(
        "pytest",
        *(ABREAST if short else ()),
        "tests/interop",
        *ours_beside_celerys,
        *on_real_stores,
        "-m",
        "not slow" if short else "",
        *args,
        env=env,
    )


@nox.session(name="check-corpus", python=ONE_PYTHON)
def check_corpus(session: nox.Session) -> None:
    """What `pyqs check` says of four public Django projects, at pinned commits, beside what a person said of them."""
    session.install(".[test]")
    home = Path(session.create_tmp()).resolve()
    for labels in sorted((ROOT / "tests" / "checking" / "corpus").glob("*.tsv")):
        repository, commit = (line.split("\t")[1] for line in labels.read_text().splitlines()[:2])
        tree = home / labels.stem
        if (tree / ".git" / "shallow").exists():
            continue
        tree.mkdir(exist_ok=True)
        for command in (["init", "-q"], ["fetch", "-q", "--depth", "1", repository, commit], ["checkout", "-q", commit]):
            session.run("git", "-C", str(tree), *command, external=True)
    session.run("pytest", "tests/checking/test_corpus.py", *session.posargs, env={"PYQS_TEST_CHECK_CORPUS": str(home)})


@nox.session(python=ONE_PYTHON)
def libraries(session: nox.Session) -> None:
    """Libraries that hook into Celery, by their tests or documented examples: under Celery and under the alias, test by test.

    ``-- celery-once`` runs one of them.
    """
    session.install(".[redis]", CELERY57, PIP, "-r", "tests/libraries/requirements.txt")
    session.run("python", "tests/libraries/run.py", "--home", session.create_tmp(), *session.posargs)


@nox.session(python=ONE_PYTHON)
def django(session: nox.Session) -> None:
    """The Django example on Debian's PostgreSQL (``apt-get install postgresql``), and under both workers.

    And the backend for Django's tasks framework, with Django's own tests of it. Django 6.0, which has that, needs Python 3.12:
    with an older one that part is skipped, as it is in the session ``tests``.
    """
    session.install(".[test]", PSYCOPG, PIP)
    env = {"PYQS_TEST_POSTGRESQL": "1"}
    both = peer(session, "celery57shop", PYTHONS, "celery[sqs]==5.7.0", "Django>=4.2", "rich>=13.7", "prometheus-client>=0.20")
    if both:
        env["PYQS_INTEROP_SHOP"] = both
    session.run("pytest", "tests/examples", "tests/compat/django", "tests/django_tasks", *session.posargs, env=env)
    session.run("python", "tests/django_tasks/djangos_own.py", "--home", session.create_tmp())


@nox.session
def servers(session: nox.Session) -> None:
    """Publishing from gunicorn's sync, gthread and gevent workers, uWSGI and uvicorn, each as released."""
    session.install(".[test]", "gunicorn>=27", "gevent>=26.9", "pyuwsgi>=2.0.30", "uvicorn>=0.54")
    session.run("pytest", "tests/e2e/test_web_servers.py", *session.posargs)


#: What Celery's own test files need beside Celery, as its requirements/test.txt and its extras have it.
CELERYS_TEST_TOOLS = (
    "pytest>=9.1,<10", "pytest-timeout>=2.4", "pytest-subtests>=0.15", "pytest-click>=1.1", "pytest-order>=1.5",
    "freezegun>=1.5.5", "pydantic>=2.12", "cryptography>=46", "ephem>=4.2", PIP,
)  # fmt: skip


@nox.session(python=ONE_PYTHON)
def conformance(session: nox.Session) -> None:
    """Celery 5.7.0's own unit-test files, fetched and unmodified, against us: a table, and an error where a floor is missed.

    ``-- tasks/test_tasks`` runs one file and lists what failed in it; ``-- --genuine`` runs them under genuine Celery, which
    must pass all.
    """
    script = ("tests/conformance/run.py", "--home", session.create_tmp(), *session.posargs)
    if "--genuine" not in session.posargs:
        session.install(".[all]", *CELERYS_TEST_TOOLS)
        session.run("python", *script)
        return
    genuine = peer(session, "celery57tests", PYTHONS, "celery[msgpack,yaml]==5.7.0", *CELERYS_TEST_TOOLS)
    if genuine:
        session.run(genuine, *script, external=True)


@nox.session(python=ONE_PYTHON)
def integration(session: nox.Session) -> None:
    """Celery 5.7.0's own t/integration/test_canvas.py and test_tasks.py, unmodified, against our worker and under Celery.

    Ours on the embedded SQS, theirs on a Redis broker, both with Redis for results. ``-- -k WORDS`` runs some of them.
    """
    session.install(".[redis]", *CELERYS_TEST_TOOLS)
    genuine = peer(session, "celery57integration", PYTHONS, CELERY57, "pytest-rerunfailures>=15", *CELERYS_TEST_TOOLS)
    script = ("tests/integration/run.py", "--home", session.create_tmp(), *session.posargs)
    session.run("python", *script, *(("--genuine", genuine) if genuine else ()))


@nox.session
def chaos(session: nox.Session) -> None:
    """Real workers, killed, stopped and cut off; what ran is in a ledger outside them. ``-- --short`` is CI's form.

    PYQS_CHAOS_CLIENT=boto3 runs it on the other client. The short form has one seed unless PYQS_CHAOS_SEED gives another, so
    that CI judges a change and not the dice; the long form draws one and prints it.
    """
    args = list(session.posargs)
    short = "--short" in args
    session.install(".[test]")
    results = ROOT / "chaos-results.jsonl"
    results.unlink(missing_ok=True)
    env = {"PYQS_CHAOS_RESULTS": str(results)}
    if short:
        args.remove("--short")
        args = ["-n", "10", "--dist", "load", "--maxschedchunk", "1", *args]  # most of a row's time is waiting
        env |= {"PYQS_CHAOS_SHORT": "1", "PYQS_CHAOS_SEED": os.environ.get("PYQS_CHAOS_SEED", "1")}
    else:
        args = ["-s", *args]
        celery = celery57(session)
        env |= {"PYQS_INTEROP_CELERY57": celery} if celery else {}
    session.run("pytest", "tests/chaos", *args, env=env)


@nox.session
def mixed(session: nox.Session) -> None:
    """One worker of Celery 5.7 and one of ours on the same queue and Redis, with faults on: 2,000 tasks, ledger checked."""
    session.install(".[test]")
    celery = celery57(session)
    session.run("pytest", "tests/chaos/test_mixed.py", "-s", *session.posargs, env={"PYQS_INTEROP_CELERY57": celery or ""})


@nox.session
def contract(session: nox.Session) -> None:
    """The SQS contract suite against other emulators too, where they are right."""
    session.install(".[test]", MOTO, MINISTACK)
    session.run(
        "pytest",
        "tests/contract",
        *session.posargs,
        env={"PYQS_CONTRACT_BACKENDS": "inprocess,local+lean,local+boto3,moto+lean,moto+boto3,ministack+lean"},
    )


@nox.session
def aws(session: nox.Session) -> None:
    """The contract suite, a hop, a FIFO failure and a shutdown against real SQS. Uses your credentials; says what it costs."""
    session.install(".[test]")
    session.run(
        "pytest", "tests/contract", "tests/aws", "-s", *session.posargs,
        env={"PYQS_CONTRACT_BACKENDS": "aws+lean,aws+boto3", "PYQS_TEST_AWS": "1"},
    )  # fmt: skip


@nox.session(python=ONE_PYTHON)
def bench(session: nox.Session) -> None:
    """The benchmarks in tests/bench, beside Celery, dramatiq and others; they print ratios and assert nothing on time.

    ``-- drain latency`` runs these, ``-- --help`` says more. ``-- --short`` is CI's form: it shows that all of it runs, without
    other peers, which it does not install. ``bench-results.jsonl`` has the figures, of which ``-- report`` makes the tables and
    plots of docs/performance.md.
    """
    session.install(".[redis,sqlalchemy]", "trustme>=1.1", "matplotlib>=3.8", "Django>=4.2")
    if "--short" in session.posargs:
        results = Path(session.create_tmp()) / "results.jsonl"  # such figures mean nothing
        session.run("python", "tests/bench/run.py", *session.posargs, env={"PYQS_BENCH_RESULTS": str(results)})
        return
    peers = {
        "celery57": celery57(session),
        "celery57django": peer(session, "celery57django", PYTHONS, "celery[sqs,msgpack,yaml]==5.7.0", "Django>=4.2"),
        "pyqs1": peer(session, "pyqs1", ("3.11", "3.12", "3.10"), "pyqs==1.0.1"),
        "dramatiq": peer(session, "dramatiq", PYTHONS, "dramatiq>=2.2,<2.3", "dramatiq_sqs==0.4.4"),
        "fanferro": peer(session, "fanferro", ("3.12", "3.13", "3.14"), "fanferro==0.5.0"),
    }
    fauxqs(session)
    env = {f"PYQS_BENCH_{name.upper()}": path for name, path in peers.items() if path}
    session.run("python", "tests/bench/run.py", *session.posargs, env=env)


def fauxqs(session: nox.Session) -> None:
    """An SQS that others wrote, of npm, with the release of Node that it needs, which npm has, too."""
    home = ROOT / ".nox" / "peers" / "fauxqs"
    if (home / "complete").exists():
        return
    if shutil.which("npm") is None:
        session.warn("npm is not installed (Debian: apt-get install nodejs npm), so nothing is measured on fauxqs")
        return
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "package.json").write_text('{"private": true}')
    session.run("npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "fauxqs@2.4.1", "node@24", external=True)
    node = home / "node_modules" / ".bin" / "node"
    if subprocess.run([str(node), "--version"], capture_output=True, check=False).returncode:
        session.warn(f"{node} does not start, so nothing is measured on fauxqs")
        return
    (home / "complete").touch()
