"""An app under a name of its own, with everything that an app can be given."""
import celery as c  # expect: import same
from celery.app.base import Celery as Base  # expect: import same


class Own(Base):
    pass


def make(name):
    made = Own(name, backend="rpc://", task_cls="proj.classes:Logged")  # expect: app same, setting not-supported
    made.conf.broker_url = "amqp://guest:hunter2@localhost//"  # expect: setting not-supported
    made.conf["task_serializer"] = "pickle"  # expect: pickle difference
    made.conf.update(
        accept_content=["json", "pickle"],  # expect: pickle difference
        worker_pool="gevent",  # expect: setting not-supported
        task_acks_late=True,  # expect: setting same
        beat_schedule={  # expect: setting same
            "gone": {"task": "proj.tasks.was_renamed", "schedule": 30},  # expect: unknown-task look
            "there": {"task": "proj.tasks.plain", "schedule": 30},
            "builtin": {"task": "celery.backend_cleanup", "schedule": 30},
        },
    )
    made.conf.update({"worker_send_task_events": True})  # expect: setting difference
    made.conf.beat_schedule["late"] = {"task": "proj.tasks.plain"}  # expect: setting same
    return made


application = make("proj")
application.steps["consumer"].add(object)  # expect: steps not-supported
application.steps["worker"].add(object)  # expect: steps difference
application.user_options["worker"].add(object)  # expect: app not-supported


@application.on_after_configure.connect  # expect: app same
def periodic(sender: c.Celery, **kwargs):
    sender.add_periodic_task(10.0, plain.s())  # expect: beat same


if __name__ == "__main__":
    application.worker_main(["worker", "-c", "2"])  # expect: app difference
    application.start()  # expect: app difference
    worker = application.Worker()  # expect: app difference
    application.send_task("nobody.has.this")  # expect: call same, unknown-task look
    application.send_task("proj.tasks.named-by-hand")  # expect: call same
    application.control.purge()  # expect: control same
    application.control.broadcast("shutdown")  # expect: control not-supported
    application.control.pool_grow(3)  # expect: control not-supported
    application.control.inspect(timeout=1).active()  # expect: control not-supported
    inspector = application.control.inspect()
    inspector.ping()  # expect: control not-supported
    with application.connection() as connection:  # expect: app difference
        pass
    application.no_such_thing()  # expect: app not-supported
    c.current_app.control.revoke("id", terminate=True)  # expect: control difference
