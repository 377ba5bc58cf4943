"""The loader of the app that is there when none was made: its configuration is the module ``celeryconfig``.

Owns: ``Loader``. Runs in every process that uses such an app.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from pyqs_celery_compat.exceptions import NotConfigured
from pyqs_celery_compat.loaders.base import BaseLoader
from pyqs_celery_compat.utils.collections import DictAttribute
from pyqs_celery_compat.utils.serialization import strtobool

__all__ = ["DEFAULT_CONFIG_MODULE", "Loader"]

DEFAULT_CONFIG_MODULE = "celeryconfig"
#: Whether to warn where there is no configuration.
C_WNOCONF = strtobool(os.environ.get("C_WNOCONF", False))


class Loader(BaseLoader):
    """The loader of the default app."""

    def setup_settings(self, settingsdict: Any) -> DictAttribute:
        """Settings with attributes as items."""
        return DictAttribute(settingsdict)

    def read_configuration(self, fail_silently: bool = True) -> Any:  # type: ignore[override]
        """What ``celeryconfig``, or the module that CELERY_CONFIG_MODULE names, has; {} where there is none.

        Parameters:
            fail_silently: False raises ImportError instead.
        """
        name = os.environ.get("CELERY_CONFIG_MODULE") or DEFAULT_CONFIG_MODULE
        try:
            module = self._import_config_module(name)
        except ImportError:
            if not fail_silently:
                raise
            if C_WNOCONF:
                warnings.warn(NotConfigured(f"there is no module {name}, so nothing is configured"), stacklevel=2)
            return {}
        self.configured = True
        return self.setup_settings(module)
