"""Which result backend ``result_backend`` names.

Owns: the table of those that there are, and what is said of the others. Runs where an app is first asked for its backend,
before it publishes its first call. A class of the user's own is imported; nothing else is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.disabled_backend import DisabledBackend
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.result_backend import Backend
from pyqs_celery_compat.utils import imports

if TYPE_CHECKING:
    from pyqs_celery_compat.app.base import Celery

BACKEND_ALIASES = {
    "cache": "pyqs_celery_compat.backends.cache:CacheBackend",
    "database": "pyqs_celery_compat.backends.database:DatabaseBackend",
    "db": "pyqs_celery_compat.backends.database:DatabaseBackend",
    "disabled": "pyqs_celery_compat.disabled_backend:DisabledBackend",
    "dynamodb": "pyqs_celery_compat.backends.dynamodb:DynamoDBBackend",
    "file": "pyqs_celery_compat.backends.filesystem:FilesystemBackend",
    "redis": "pyqs_celery_compat.backends.redis:RedisBackend",
    "rediss": "pyqs_celery_compat.backends.redis:RedisBackend",
    "s3": "pyqs_celery_compat.backends.s3:S3Backend",
}
#: Celery's, which are not here yet: an app that names one may publish, and is told when it asks for a result.
LATER = frozenset(
    {"amqp", "arangodb", "azureblockblob", "cassandra", "consul", "cosmosdbsql", "couchbase", "couchdb", "elasticsearch", "gs"}
    | {"mongodb", "riak", "rpc", "sentinel"}
)
_THERE_IS = (
    "there are redis://, rediss://, db+sqlite:/// and what else SQLAlchemy reaches, dynamodb://, s3://, file:///, "
    "cache+memory:// (in this process only), disabled://, and classes of your own, as package.module:Class"
)


def _installed(name: str) -> str | None:
    """The class that an installed package offers by this name, as django-celery-results does ``django-db``."""
    from importlib.metadata import entry_points

    return next((entry.value for entry in entry_points(group="celery.result_backends") if entry.name == name), None)


def by_name(backend: str | type[Backend] | None = None, loader: Any = None) -> type[Backend]:
    """The class of a backend, by its alias or its path.

    Raises:
        ImproperlyConfigured: there is none of this name.
    """
    name: Any = backend or "disabled"
    if isinstance(name, type):
        return name
    path = BACKEND_ALIASES.get(name) or dict(getattr(loader, "override_backends", ())).get(name) or _installed(name) or name
    try:
        found = imports.symbol_by_name(path)
    except (ValueError, ImportError, AttributeError) as exc:
        raise ImproperlyConfigured(
            f"Unknown result backend: {name!r}.  Did you spell that correctly? ({exc}); {_THERE_IS}"
        ) from exc
    if not isinstance(found, type):
        raise ImproperlyConfigured(f"Unknown result backend: {name!r} is no class; {_THERE_IS}")
    return found


def by_url(backend: str | type[Backend] | None = None, loader: Any = None) -> tuple[type[Backend], str | None]:
    """The class of a backend and its URL: ``cache+memory://`` has both in one."""
    url = None
    if isinstance(backend, str) and "://" in backend:
        url = backend
        scheme = url.partition("://")[0]
        backend = scheme
        if "+" in scheme:
            backend, _, inner = url.partition("+")
            url = url if backend in BACKEND_ALIASES else inner
    return by_name(backend, loader), url


def check_for_worker(named: Any) -> None:
    """Raise ImproperlyConfigured for a ``result_backend`` whose results nobody outside of an executor would see."""
    scheme = named.partition("://")[0].partition("+")[0].rstrip(":/") if isinstance(named, str) else ""
    what = ""
    if scheme in LATER:
        what = f"this version of pyqs_celery_compat does not have {scheme}: {_THERE_IS}"
    elif scheme == "cache":
        what = "it is the memory of one process, and a worker's tasks run in others"
    if what:
        raise ImproperlyConfigured(
            f"result_backend is set, but {what}. Whoever waits for a result would wait for ever. To run without results all "
            "the same, start the worker with CELERY_RESULT_BACKEND=disabled:// (or set task_ignore_result = True)"
        )


def backend_of(app: Celery) -> Backend:
    """A new backend, as the app's settings say."""
    named = app.conf.result_backend
    if isinstance(named, str) and named.partition("://")[0].partition("+")[0].rstrip(":/") in LATER:
        said = named.partition("://")[0]
        return DisabledBackend(
            app, f"result_backend is set to {said!r}, which this version of pyqs_celery_compat does not have yet: {_THERE_IS}"
        )
    cls, url = by_url(named)
    return cls(app=app, url=url)
