"""billiard under the alias: the exceptions that a task catches are ours, and who wants billiard's processes has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INSTALL = "from pyqs_celery_compat import install_as_celery; install_as_celery()\n"
SAME = """
import billiard.exceptions, celery.exceptions
from billiard.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
for one in (SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError):
    assert one is getattr(celery.exceptions, one.__name__) and one.__module__ == "billiard.exceptions"
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from pyqs_celery_compat import einfo
assert ExceptionInfo is einfo.ExceptionInfo
from billiard import VERSION
assert VERSION >= (3, 6)
from billiard.pool import Worker
assert Worker.workloop and Worker._do_exit
"""
"""What OpenTelemetry, Sentry and New Relic import."""
ENDS = """
from billiard.pool import Worker
from pyqs_celery_compat import alias_billiard
sent, loop = [], Worker.workloop
def with_flush(*args, **kwargs):
    try:
        return loop(*args, **kwargs)
    finally:
        sent.append("flushed")
Worker.workloop = with_flush
leave = Worker._do_exit
def with_shutdown(self, pid, exitcode, exc=None):
    sent.append(("left", exitcode))
    return leave(self, pid, exitcode, exc)
Worker._do_exit = with_shutdown
alias_billiard.process_ends(3)
assert sent == ["flushed", ("left", 3)], sent
"""


def test_where_it_is_not_installed_there_is_what_libraries_import(alone: Any) -> None:
    alone(INSTALL + SAME + ENDS)


def test_where_it_is_not_installed_its_processes_are_an_error(alone: Any) -> None:
    assert "cannot import name 'Process' from 'billiard': it is not installed" in alone(
        INSTALL + "from billiard import Process", fails=True
    )
    assert "No module named 'billiard.util'" in alone(INSTALL + "import billiard.util", fails=True)
    assert "billiard is not installed" in alone(INSTALL + "from billiard.pool import Worker; Worker()", fails=True)


def test_where_it_is_installed_it_stays_and_has_our_exceptions(with_billiard: Any) -> None:
    with_billiard(INSTALL + SAME + ENDS + "from billiard import Pool, Process\nassert 'site-packages' in billiard.__file__")


def test_where_it_was_imported_before_its_names_are_changed_everywhere(with_billiard: Any) -> None:
    with_billiard(
        "import billiard, billiard.pool, billiard.einfo\nold = billiard.SoftTimeLimitExceeded\n"
        + INSTALL
        + SAME
        + "assert billiard.SoftTimeLimitExceeded is billiard.pool.SoftTimeLimitExceeded is SoftTimeLimitExceeded is not old\n"
        + "assert billiard.pool.ExceptionInfo is ExceptionInfo"
    )


def test_its_pools_work(with_billiard: Any, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "import celery.exceptions\ndef half(n): return n / 2\ndef fail(n): return 1 / n\n"
        "def late(n): raise celery.exceptions.SoftTimeLimitExceeded(n)\n"
    )
    with_billiard(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        + INSTALL
        + """
import billiard, work
from celery.exceptions import SoftTimeLimitExceeded
pool = billiard.Pool(1)
assert pool.apply(work.half, (3,)) == 1.5
for function, wanted in ((work.fail, ZeroDivisionError), (work.late, SoftTimeLimitExceeded)):
    try:
        pool.apply(function, (0,))
    except wanted as exc:
        assert "work.py" in str(exc.__cause__)
pool.close()
pool.join()
"""
    )


def test_a_failure_crosses_processes_with_its_traceback_as_text() -> None:
    import pickle

    from pyqs_celery_compat.einfo import ExceptionInfo

    try:
        raise KeyError("here")
    except KeyError as exc:
        info = ExceptionInfo.of(exc)
    again = pickle.loads(pickle.dumps(info))  # noqa: S301 - its own
    assert repr(again.exception) == "KeyError('here')"
    assert again.traceback == info.traceback
    assert "raise KeyError" in str(again.exception.__cause__)
    assert again.tb is None
    assert repr(info.exception.exc) == "KeyError('here')"


def test_a_worker_without_the_alias_leaves_billiard_alone(with_billiard: Any) -> None:
    with_billiard(
        "import billiard.pool\nfrom pyqs_celery_compat import alias_billiard\n"
        "billiard.pool.Worker.workloop = None\nalias_billiard.process_ends()"
    )
