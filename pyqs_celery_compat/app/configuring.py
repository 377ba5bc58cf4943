"""How an app comes by its configuration, and by its task modules.

Owns: ``Configuring``, a part of ``Celery``: ``config_from_*``, defaults, the one reading of it all, autodiscovery, the
schedule. Runs in every process that has an app. Never reads the configuration before somebody needs it, unless told to
(``force``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat import conf
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.settings import AttributeMapping, Settings
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.utils.dispatch import Signal


class Configuring:
    """The configuration of an app."""

    conf: Settings
    namespace: str | None
    on_configure: Any
    on_after_configure: Signal
    _config_source: Any
    _pending_defaults: list[Any]

    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None) -> None:
        """Take the configuration from a module, class, instance, dict or the dotted path of one, on first use.

        Parameters:
            silent: no error if the path does not import.
            force: read it now.
            namespace: only keys that start with it (``CELERY`` -> ``CELERY_X``) are settings.
        """
        self._config_source = obj
        self._config_silent = silent
        self.namespace = namespace or self.namespace
        if self.conf.loaded:
            self.conf.reload(self._load_config)
        if force:
            self.conf.finalize()

    _config_silent = False

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool | None:
        """The same with the path in an environment variable; False if it is not set, which ImproperlyConfigured says aloud."""
        path = os.environ.get(variable_name)
        if path:
            self.config_from_object(path, silent=silent, force=force)
            return None
        if silent:
            return False
        raise ImproperlyConfigured(f"the environment variable {variable_name!r}, which names the configuration, is not set")

    def add_defaults(self, fun: Any) -> None:
        """Settings (a mapping, or a function that answers one later) that beat the configuration object."""
        if self.conf.loaded:
            self.conf.add_defaults(fun() if callable(fun) else fun)
        else:
            self._pending_defaults.append(fun)

    def setup_security(self, *args: Any, **kwargs: Any) -> None:
        """Refused: signed messages are not supported."""
        raise ImproperlyConfigured("signed messages (setup_security, the auth serializer) are not supported")

    def _load_config(self, settings: Settings) -> None:
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        source = self._config_source
        if source is not None:
            try:
                source = imports.symbol_by_name(source)
            except ImportError:
                if not self._config_silent:
                    raise
                source = {}
            mapping = source if isinstance(source, Mapping) else AttributeMapping(source)
            settings.use(mapping, self.namespace)
        for defaults in self._pending_defaults:
            settings.add_defaults(defaults() if callable(defaults) else defaults)
        conf.check_settings(settings)
        self.on_after_configure.send(sender=self, source=settings)

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """Put an entry into ``beat_schedule``; its key is the answer. Sending it stays with Celery's beat for now."""
        signature = sig.clone(args, kwargs or {}, **opts)
        key = name or repr(signature)
        entry = {"schedule": schedule, "task": signature.name, "args": tuple(signature.args)}
        entry |= {"kwargs": dict(signature.kwargs), "options": dict(signature.options)}
        self.conf.beat_schedule = {**(self.conf.beat_schedule or {}), key: entry}
        logging.getLogger("celery.beat").warning("periodic task %s is noted; Celery's own beat has to send it for now", key)
        return key

    def autodiscover_tasks(self, packages: Any = None, related_name: str = "tasks", force: bool = False) -> Any:
        """Have ``<package>.tasks`` of each package imported when a worker loads its modules, or now (``force``).

        Parameters:
            packages: names, or a function that answers them; none means Django's installed apps.
        """
        from pyqs_celery_compat import signals

        def discover(**_: Any) -> Any:
            names = packages() if callable(packages) else packages
            return imports.autodiscover(names or imports.django_packages(), related_name)

        if force:
            return discover()
        signals.import_modules.connect(discover, weak=False, sender=self, dispatch_uid=(id(discover), related_name))
        return None
