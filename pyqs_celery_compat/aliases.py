"""Celery's module names: which there are in 5.7, and what to say of those that there were.

Owns: ``MODULES``, ``REMOVED`` and ``STAND_INS``. Pure tables, read by ``alias`` in every process that has called
``install_as_celery()``. A module of this package stands for the one of the same path below ``celery``; what is not in
``MODULES`` is nobody's business but ours, and cannot be imported by a name of Celery's.
"""

from __future__ import annotations

CELERY = "celery"
OURS = "pyqs_celery_compat"

#: Every module of Celery 5.7, ``celery.`` left out. Those that are not in this package are an error that says so.
_PATHS = """
    __main__ _state app app.amqp app.annotations app.autoretry app.backends app.base app.builtins app.control
    app.defaults app.events app.log app.registry app.routes app.task app.trace app.utils apps apps.beat
    apps.multi apps.worker backends backends.arangodb backends.asynchronous backends.azureblockblob
    backends.base backends.cache backends.cassandra backends.consul backends.cosmosdbsql backends.couchbase
    backends.couchdb backends.database backends.database.models backends.database.session backends.dynamodb
    backends.elasticsearch backends.filesystem backends.gcs backends.mongodb backends.redis backends.rpc
    backends.s3 beat bin bin.amqp bin.base bin.beat bin.call bin.celery bin.control bin.events bin.graph
    bin.list bin.logtool bin.migrate bin.multi bin.purge bin.result bin.shell bin.upgrade bin.worker bootsteps
    canvas concurrency concurrency.asynpool concurrency.base concurrency.eventlet concurrency.gevent
    concurrency.prefork concurrency.solo concurrency.thread contrib contrib.abortable contrib.django
    contrib.django.task contrib.migrate contrib.pytest contrib.rdb contrib.sphinx contrib.testing
    contrib.testing.app contrib.testing.manager contrib.testing.mocks contrib.testing.tasks
    contrib.testing.worker events events.cursesmon events.dispatcher events.dumper events.event events.receiver
    events.snapshot events.state exceptions fixups fixups.django loaders loaders.app loaders.base
    loaders.default local platforms registry result schedules security security.certificate security.key
    security.serialization security.utils signals states utils utils.abstract utils.annotations
    utils.collections utils.debug utils.deprecated utils.dispatch utils.dispatch.signal utils.functional
    utils.graph utils.imports utils.iso8601 utils.log utils.nodenames utils.objects utils.quorum_queues
    utils.saferepr utils.serialization utils.static utils.sysinfo utils.term utils.text utils.threads utils.time
    utils.timer2 worker worker.autoscale worker.components worker.consumer worker.consumer.agent
    worker.consumer.connection worker.consumer.consumer worker.consumer.control worker.consumer.delayed_delivery
    worker.consumer.events worker.consumer.gossip worker.consumer.heart worker.consumer.mingle
    worker.consumer.tasks worker.control worker.heartbeat worker.loops worker.pidbox worker.request worker.state
    worker.strategy worker.worker
"""
MODULES = frozenset({CELERY, *(f"{CELERY}.{path}" for path in _PATHS.split())})

_USE_SHARED_TASK = "removed in Celery 5: import shared_task, Task and the like from celery"
_USE_THE_APP = "a module that Celery kept for old code only"
#: Modules that Celery had once, with all that was below them, and where their contents are now.
REMOVED = {
    "celery.task": _USE_SHARED_TASK,
    "celery.decorators": _USE_SHARED_TASK,
    "celery.execute": f"{_USE_THE_APP}: use app.send_task",
    "celery.log": f"{_USE_THE_APP}: use celery.utils.log",
    "celery.messaging": f"{_USE_THE_APP}: use app.amqp",
    "celery.five": "removed in Celery 5: Python 3 needs nothing of it",
    "celery.utils.encoding": "removed in Celery 5: use kombu.utils.encoding",
    "celery.contrib.methods": "removed in Celery 4: make a method a task by a function that calls it",
    "celery.contrib.batches": "removed in Celery 4: collect the calls where they are made (app.batch() sends many at once)",
}

#: What libraries import of billiard, and the module that stands for it where billiard is not installed.
STAND_INS = {
    "billiard": "_billiard",
    "billiard.einfo": "_billiard.einfo",
    "billiard.exceptions": "_billiard.exceptions",
    "billiard.pool": "_billiard.pool",
}


def ours(name: str) -> str | None:
    """The module of this package that has this name of Celery's; None for any other name."""
    return OURS + name[len(CELERY) :] if name in MODULES else None


def celerys(name: str) -> str | None:
    """The name that Celery has for a module of this package; None for one that is ours alone."""
    known = CELERY + name[len(OURS) :] if name == OURS or name.startswith(OURS + ".") else ""
    return known if known in MODULES else None


def why_not(name: str) -> str:
    """What to say of a name below ``celery`` that cannot be imported."""
    for removed, hint in REMOVED.items():
        if name == removed or name.startswith(removed + "."):
            return hint
    here = f"{OURS} stands for Celery here"
    if name in MODULES:
        return f"{here}, and has not got this module of it; docs/differences.md says what it has"
    return f"{here}, and there is no such module in Celery 5.7; docs/differences.md says what differs"
