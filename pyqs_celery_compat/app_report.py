"""What ``pyqs report`` prints of an app: versions, what became of each setting, and what a worker would say of it.

Owns: ``report``. Runs in the short-lived process that imports the app (``appinfo``). Talks to nobody: no connection is made
and no SDK loaded. Secrets are starred out here, before anything leaves the process.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import alias, conf, version
from pyqs_celery_compat.app import setting_checks
from pyqs_celery_compat.app.defaults import DEFAULTS
from pyqs_celery_compat.app.setting_table import FACTS
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.settings import Settings, censor
from pyqs_celery_compat.utils.imports import qualname

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Distributions whose versions matter to what an app does.
_DISTRIBUTIONS = ("boto3", "botocore", "kombu", "celery", "Django")


def report(app: Celery) -> dict[str, Any]:
    """The report as what JSON can hold.

    ``settings`` are those that somebody has set: name, value (its repr, ``is_repr``, where JSON has none such), fate and note,
    which are None for a setting that is not Celery's. ``errors`` are why a worker would not start, ``remarks`` what it says.
    """
    errors, remarks = [], []
    try:
        remarks = list(conf.check_worker_settings(app))
    except ImproperlyConfigured as exc:
        errors = [str(exc)]
        try:
            remarks = list(setting_checks.remarks(app.conf))
        except ImproperlyConfigured:  # the configuration cannot be read at all
            return {"versions": _versions(), "app": {"name": app.main}, "settings": [], "errors": errors, "remarks": []}
    return {
        "versions": _versions(),
        "app": {
            "name": app.main,
            "class": qualname(type(app)),
            "loader": qualname(type(app.loader)),
            "namespace": app.conf.prefix,
            "import celery": "pyqs_celery_compat" if alias.is_installed() else "Celery's own",
        },
        "settings": [_setting(app.conf, name) for name in sorted(app.conf) if _told(app.conf, name)],
        "errors": errors,
        "remarks": remarks,
    }


def _versions() -> dict[str, str]:
    found = {"pyqs": version.own(), "stands for Celery": version.CELERY, "Python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if isinstance(distribution, importlib.metadata.PathDistribution):  # installed, not presented by the alias
            found[name] = distribution.version
    return {**found, "implementation": sys.implementation.name, "platform": platform.platform()}


def _told(settings: Settings, name: str) -> bool:
    """Whether somebody has set it, to something else than the default; of others' settings only what is data."""
    if not settings.value_set_for(name):
        return False
    if name in DEFAULTS:
        return bool(settings[name] != DEFAULTS[name])
    prefix = settings.prefix
    mine = prefix is None or name.upper().startswith(prefix.upper()) or name in settings.changes
    return mine and isinstance(settings[name], (bool, int, float, str, list, tuple, dict, set, frozenset))


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    fact = FACTS.get(name)
    value = settings[name]
    plain = value is None or isinstance(value, (bool, int, str))
    shown = censor(name, value)
    return {
        "name": name,
        "value": shown if plain else repr(shown),
        "is_repr": not plain,
        "fate": fact.fate.value if fact else None,
        "note": fact.note if fact else None,
    }
