"""Which setting wins: defaults, the configuration object, the app's arguments, the environment, what code writes. No worker."""

import os
import sys
import types

from celery import Celery
from stage import note

NAMES = ("task_default_queue", "broker_url", "result_backend", "timezone", "task_serializer", "accept_content",
         "worker_concurrency", "task_always_eager", "imports", "task_routes")  # fmt: skip


def shown(app):
    found = {}
    for name in NAMES:
        try:
            found[name] = repr(getattr(app.conf, name))
        except Exception as exc:
            found[name] = f"raised {type(exc).__name__}"
    return found


def module(name, **values):
    made = types.ModuleType(name)
    made.__dict__.update(values)
    sys.modules[name] = made
    return name


def case(label, build, env=None):
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "CELERY_TIMEZONE")
    saved = {key: os.environ.pop(key, None) for key in names}
    os.environ.update(env or {})
    try:
        app = build()
        note("case", label=label, **shown(app))
    except Exception as exc:
        note("case", label=label, raised=type(exc).__name__)
    finally:
        for key, value in saved.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def from_object(app, *args, **kwargs):
    app.config_from_object(*args, **kwargs)
    return app


def from_envvar(app, *args, **kwargs):
    note("envvar", answer=repr(app.config_from_envvar(*args, **kwargs)))
    return app


def with_later(app, **settings):
    app.conf.update(settings)
    return app


def with_defaults(app, **settings):
    app.add_defaults(settings)
    return app


def calls():
    new = module(
        "new_names", task_default_queue="object", broker_url="sqs://object@", timezone="Europe/Paris",
        task_serializer="yaml",
    )  # fmt: skip
    old = module(
        "old_names", CELERY_DEFAULT_QUEUE="old", BROKER_URL="sqs://old@", CELERY_TIMEZONE="Europe/Rome",
        CELERY_TASK_SERIALIZER="yaml",
    )  # fmt: skip
    spaced = module(
        "spaced", CELERY_TASK_DEFAULT_QUEUE="spaced", CELERY_BROKER_URL="sqs://spaced@", OTHER=1,
        CELERY_WORKER_CONCURRENCY=3,
    )  # fmt: skip
    oldspaced = module("oldspaced", CELERY_CELERYD_CONCURRENCY=4, CELERY_ALWAYS_EAGER=True)
    mixed = module("mixed", task_default_queue="new", CELERY_TIMEZONE="Europe/Rome")
    case("nothing", Celery)
    case("argument", lambda: Celery(broker="sqs://argument@"))
    case("object", lambda: from_object(Celery(), new))
    case("object and argument", lambda: from_object(Celery(broker="sqs://argument@"), new))
    case("argument by keyword", lambda: Celery(task_default_queue="keyword", timezone="UTC"))
    case("old names", lambda: from_object(Celery(), old))
    case("namespace", lambda: from_object(Celery(), spaced, namespace="CELERY"))
    case("namespace of old names", lambda: from_object(Celery(), oldspaced, namespace="CELERY"))
    case("no namespace", lambda: from_object(Celery(), spaced))
    case("mixed", lambda: from_object(Celery(), mixed))
    case("environment", Celery, {"CELERY_BROKER_URL": "sqs://environment@", "CELERY_RESULT_BACKEND": "cache+memory://"})
    case("environment and argument", lambda: Celery(broker="sqs://argument@"), {"CELERY_BROKER_URL": "sqs://environment@"})
    case("environment and object", lambda: from_object(Celery(), new), {"CELERY_BROKER_URL": "sqs://environment@"})
    case(
        "environment and namespace",
        lambda: from_object(Celery(), spaced, namespace="CELERY"),
        {"CELERY_BROKER_URL": "sqs://environment@"},
    )
    case("written later", lambda: with_later(from_object(Celery(), new), task_default_queue="later", broker_url="sqs://later@"))
    case("written before the object", lambda: from_object(with_later(Celery(), task_default_queue="before"), new))
    case("defaults", lambda: with_defaults(from_object(Celery(), new), task_default_queue="default", worker_concurrency=9))
    case("changes", lambda: from_object(Celery(changes={"task_default_queue": "changes"}), new))
    case("config_source", lambda: Celery(config_source=new))
    case("dict", lambda: from_object(Celery(), {"task_default_queue": "dict", "CELERY_TIMEZONE": "x"}))
    case("silent", lambda: from_object(Celery(), "no_such_module", silent=True))
    case("missing", lambda: from_object(Celery(), "no_such_module"))
    case("envvar", lambda: from_envvar(Celery(), "MINE"), {"MINE": new})
    case("envvar unset", lambda: Celery().config_from_envvar("NOT_MINE"))
    case("envvar unset, silent", lambda: from_envvar(Celery(), "NOT_MINE", silent=True))
    app = Celery(broker="sqs://first@")
    app.conf.task_default_queue = "attribute"
    conf = app.conf
    note("names", old=conf.CELERY_DEFAULT_QUEUE, new=conf.task_default_queue, item=conf["CELERY_DEFAULT_QUEUE"])
    note("more names", url=conf.BROKER_URL)
    app.conf.CELERY_TIMEZONE = "Asia/Tokyo"
    note("written by its old name", new=app.conf.timezone, old=app.conf.CELERY_TIMEZONE)
    note("others", unknown=conf.get("no_such_setting", "absent"), inside="no_such_setting" in conf, has="timezone" in conf)


def over(happened):
    return True
