"""The result backend of an app without results.

Owns: ``DisabledBackend``. Lives wherever an app is asked for its backend. Keeps nothing, and says so to who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_backend import Backend

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

NO_BACKEND = "No result backend is configured.\nPlease see the documentation for more information."


class NoBackendError(NotImplementedError, AttributeError):
    """There is no result backend. Celery raises one of the two, depending on what is asked."""


class DisabledBackend(Backend):
    """The backend of an app without one: forgets what it is told, has nothing to tell.

    Parameters:
        why: what to say to who asks for a result.
    """

    stores = False
    thread_safe = True

    def __init__(self, app: Celery, why: str = NO_BACKEND, **_: Any) -> None:
        self.app = app
        self.why = why

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Store nothing, as Celery does without a backend."""

    def ensure_chords_allowed(self) -> NoReturn:
        """There is nothing that could count."""
        raise NotImplementedError(f"a chord needs a result backend, to count its tasks and keep what they return: {self.why}")

    def _is_disabled(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NoBackendError(self.why)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """``disabled://``."""
        return "disabled://"

    get_state = get_status = get_result = get_traceback = get_task_meta = get_task_meta_for = _is_disabled
    wait_for = wait_for_pending = get_many = iter_native = get_children = forget = _is_disabled
    save_group = restore_group = delete_group = _is_disabled


belongs_to("celery.backends.base", DisabledBackend)
