"""How an app comes by its configuration, and by its task modules.

Owns: ``Configuring``, a part of ``Celery``: the loader, ``config_from_*``, defaults, the one reading of it all, autodiscovery,
the schedule. Runs in every process that has an app. Never reads the configuration before somebody needs it, unless told to
(``force``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pyqs_celery_compat import conf
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.settings import Settings
from pyqs_celery_compat.utils.dispatch import Signal

if TYPE_CHECKING:
    from pyqs_celery_compat.loaders.base import BaseLoader


class Configuring:
    """The configuration of an app."""

    conf: Settings
    namespace: str | None
    on_configure: Any
    on_after_configure: Signal
    _config_source: Any
    _config_source_silent: bool
    _fixups: list[Any]
    _pending_defaults: list[Any]
    _pending_periodic_tasks: list[tuple[str, dict[str, Any], str | None]]
    #: A class, or the path of one, that reads the configuration and imports task modules; None for CELERY_LOADER, else "app".
    loader_cls: Any = None

    @cached_property
    def loader(self) -> BaseLoader:
        """What reads the configuration and imports task modules."""
        from pyqs_celery_compat.loaders import get_loader_cls

        return get_loader_cls(self.loader_cls or os.environ.get("CELERY_LOADER") or "app")(app=self)  # type: ignore[no-any-return]

    @property
    def configured(self) -> bool:
        """Whether the configuration was read."""
        return self.conf.loaded

    # -- where it comes from --------------------------------------------------------------------------------------------
    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Settings | None:
        """Take the configuration from a module, class, instance, dict or the dotted path of one, on first use.

        Parameters:
            silent: no error if the path does not import.
            force: read it now, as happens anyway where another one was read already.
            namespace: only keys that start with it (``CELERY`` -> ``CELERY_X``) are settings.

        Returns: the settings, if they were read.
        """
        self._config_source = obj
        self._config_source_silent = silent
        self.namespace = namespace or self.namespace
        if not (force or self.conf.loaded):
            return None
        self.conf.reload(self._load_config)
        found = self.loader.config_from_object(obj, silent=silent)
        return self.conf.finalize() if found else None

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> Any:
        """The same with the path in an environment variable; where it is not set, that is an error, or False (``silent``)."""
        path = os.environ.get(variable_name)
        if path:
            return self.config_from_object(path, silent=silent, force=force)
        if silent:
            return False
        raise ImproperlyConfigured(
            f"the environment variable {variable_name!r}, which names the configuration, is not set; for example "
            f"{variable_name}=proj.celeryconfig"
        )

    def config_from_cmdline(self, argv: Any, namespace: str = "celery") -> None:
        """Settings as arguments: ``worker.concurrency=3``, ``task_always_eager=yes``, ``.soft_time_limit=(int)3``.

        Parameters:
            namespace: what an argument with nothing before its dot belongs to.
        """
        self.conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Any) -> None:
        """Settings (a mapping, or a function that answers one later) that beat the configuration object."""
        if self.conf.loaded:
            self.conf.add_defaults(fun() if callable(fun) else fun)
        else:
            self._pending_defaults.append(fun)

    def setup_security(self, *args: Any, **kwargs: Any) -> None:
        """Refused: signed messages are not supported."""
        raise ImproperlyConfigured(
            "signed messages (setup_security, the auth serializer) are not supported; SQS signs each request and encrypts its "
            "queues: leave setup_security out, use json, and let an IAM policy say who may send"
        )

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of these that is not None, else the setting of this name."""
        for value in defaults:
            if value is not None:
                return value
        return self.conf.get(default_key)

    # -- reading it -----------------------------------------------------------------------------------------------------
    def _load_config(self, settings: Settings | None = None) -> None:
        settings = self.conf if settings is None else settings
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        if self._config_source is not None:
            self.loader.config_from_object(self._config_source, silent=self._config_source_silent)
        settings.use(cast("Mapping[str, Any]", self.loader.conf or {}), self.namespace)
        while self._pending_defaults:
            defaults = self._pending_defaults.pop(0)
            settings.add_defaults(defaults() if callable(defaults) else defaults)
        conf.check_settings(settings)

    def _config_loaded(self, settings: Settings) -> None:
        while self._pending_periodic_tasks:
            self._add_periodic_task(*self._pending_periodic_tasks.pop(0))
        self.on_after_configure.send(sender=self, source=settings)

    # -- the schedule ---------------------------------------------------------------------------------------------------
    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """Put an entry into ``beat_schedule``; its key is the answer. Sending it stays with Celery's beat for now."""
        signature = sig.clone(args, kwargs or {}, **opts)
        key = name or repr(signature)
        entry = {"schedule": schedule, "task": signature.name, "args": tuple(signature.args)}
        entry |= {"kwargs": dict(signature.kwargs), "options": dict(signature.options)}
        if self.conf.loaded:
            self._add_periodic_task(key, entry, name)
        else:
            self._pending_periodic_tasks.append((key, entry, name))
        return key

    def _add_periodic_task(self, key: str, entry: dict[str, Any], name: str | None) -> None:
        schedule = self.conf.beat_schedule or {}
        if name is None and key in schedule:
            logging.getLogger("celery.app.base").warning(
                "Periodic task key='%s' shadowed a previous unnamed periodic task. Pass a name kwarg to add_periodic_task to "
                "silence this warning.",
                key,
            )
        self.conf.beat_schedule = {**schedule, key: entry}

    # -- task modules ---------------------------------------------------------------------------------------------------
    def autodiscover_tasks(self, packages: Any = None, related_name: str | None = "tasks", force: bool = False) -> Any:
        """Have ``<package>.tasks`` of each package imported when a worker loads its modules, or now (``force``).

        Parameters:
            packages: names, or a function that answers them; none means what the fixups know: Django's installed apps.
        """
        if force:
            return self._autodiscover_tasks(packages, related_name)
        from pyqs_celery_compat import signals

        def discover(**_: Any) -> Any:
            return self._autodiscover_tasks(packages, related_name)

        signals.import_modules.connect(discover, weak=False, sender=self, dispatch_uid=(id(discover), related_name))
        return None

    def _autodiscover_tasks(self, packages: Any, related_name: str | None) -> Any:
        names = packages() if callable(packages) else packages
        if not names:
            fixups = [fixup for fixup in self._fixups if hasattr(fixup, "autodiscover_tasks")]
            names = [name for fixup in fixups for name in fixup.autodiscover_tasks()]
        return self.loader.autodiscover_tasks(names, related_name)
