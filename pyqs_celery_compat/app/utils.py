"""What Celery keeps in ``celery.app.utils``: how an app is told and pickled, and its settings as text.

Owns: ``AppPickler``, ``bugreport``, ``appstr``. Runs where somebody asks for one of them; an app itself loads this module when
it is pickled. Nothing here opens a connection or shows a secret.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import version
from pyqs_celery_compat.settings import Settings, without_secrets
from pyqs_celery_compat.utils.imports import qualname

if TYPE_CHECKING:
    from pyqs_celery_compat.app.base import Celery

__all__ = ["AppPickler", "Settings", "appstr", "bugreport", "filter_hidden_settings", "find_app"]


def appstr(app: Celery) -> str:
    """``main at 0x...``."""
    return f"{app.main or '__main__'} at {id(app):#x}"


def filter_hidden_settings(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with stars in place of secrets."""
    return without_secrets(conf)


def bugreport(app: Celery) -> str:
    """Versions, the platform and the settings that somebody set, secrets starred out: what an issue should have."""
    system, architecture = platform.system(), ", ".join(filter(None, platform.architecture()))
    conf = app.conf
    broker = str(conf.broker_write_url or "sqs").partition(":")[0]
    results = str(conf.result_backend or "disabled").partition(":")[0]
    loader = qualname(type(app.loader))
    return f"""
software -> pyqs:{version.own()} as celery:{version.CELERY} kombu:{_installed("kombu")} py:{platform.python_version()}
            boto3:{_installed("boto3")} botocore:{_installed("botocore")}
platform -> system:{system} arch:{architecture}
            kernel version:{platform.release()} imp:{platform.python_implementation()}
loader   -> {loader}
settings -> transport:{broker} results:{results}

{conf.humanize()}
"""


def _installed(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def find_app(app: str, symbol_by_name: Any = None, imp: Any = None) -> Celery:
    """The app of a name as given with ``-A``. Raises ImproperlyConfigured where there is none."""
    from pyqs_celery_compat import finding

    return finding.find_app(app)


class AppPickler:
    """How subclasses of apps that define ``__reduce_args__`` are made again."""

    def __call__(self, cls: type[Celery], *args: Any) -> Celery:
        kwargs = self.build_kwargs(*args)
        app = self.construct(cls, **kwargs)
        self.prepare(app, **kwargs)
        return app

    def prepare(self, app: Celery, **kwargs: Any) -> None:
        """Give the new app what its constructor does not take: what code had written."""
        app.conf.update(kwargs["changes"])

    def build_kwargs(self, *args: Any) -> dict[str, Any]:
        """The constructor's arguments by name; for subclasses with more of them."""
        return self.build_standard_kwargs(*args)

    def build_standard_kwargs(
        self,
        main: str | None,
        changes: Mapping[str, Any],
        loader: Any,
        backend: Any,
        amqp: Any,
        events: Any,
        log: Any,
        control: Any,
        accept_magic_kwargs: bool,
        config_source: Any = None,
        config_source_silent: bool = False,
    ) -> dict[str, Any]:
        """What ``__reduce_args__`` of an app answers, by name."""
        return {
            "main": main, "loader": loader, "backend": backend, "amqp": amqp, "changes": changes, "events": events, "log": log,
            "control": control, "set_as_current": False, "config_source": config_source,
            "config_source_silent": config_source_silent,
        }  # fmt: skip

    def construct(self, cls: type[Celery], **kwargs: Any) -> Celery:
        """The new app."""
        return cls(**kwargs)


def _unpickle_app(cls: type[Celery], pickler: type[AppPickler], *args: Any) -> Celery:
    return pickler()(cls, *args)


def _unpickle_app_v2(cls: type[Celery], kwargs: dict[str, Any]) -> Celery:
    return cls(**{**kwargs, "set_as_current": False})
