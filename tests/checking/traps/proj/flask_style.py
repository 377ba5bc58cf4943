import celery  # expect: import same
from kombu import Connection, Exchange, Queue  # expect: import difference, import same
from kombu.common import Broadcast  # expect: import not-supported

celery = celery.Celery("flask", broker="sqs://")  # expect: app same, setting same
task = celery.task
topics = Queue("topics", Exchange("topics", type="topic"))  # expect: exchange not-supported
plain = Queue("plain", Exchange("plain"))  # expect: exchange same


class Config:
    broker_url = "pyamqp://"  # expect: setting not-supported
    worker_concurrency = 4  # expect: setting same


class NoConfig:
    broker_url = "pyamqp://"


celery.config_from_object(Config)  # expect: app same
celery.config_from_object("proj.queue_settings")  # expect: app same
celery.conf.CELERY_IGNORE_RESULT = True  # expect: setting same


@celery.task  # expect: task same
def one():
    pass


@task(bind=True)  # expect: task same
def two(self):
    def inner():
        self.retry(countdown=1)  # expect: eta difference

    inner()


@celery.on_after_configure.connect  # expect: app same
def setup(sender, **kwargs):
    sender.add_periodic_task(10, one)  # expect: beat same


def somewhere(anything):
    anything.control.inspect().stats()  # expect: control not-supported
    anything.control.cancel_consumer("q")  # expect: control not-supported
    anything.control.shutdown()
    anything.inspect().nothing()


def start(subprocess, name):
    subprocess.run(["celery", "-A", name, "worker", "-E"])  # expect: command difference, option difference
    subprocess.run(["systemctl", "restart", "celery", "worker"])
    celery.amqp.TaskConsumer(None)  # expect: app not-supported
    celery.amqp.queues  # expect: app same
    with celery.connection() as connection:  # expect: app difference
        connection.ensure_connection()  # expect: app same
        connection.drain_events()  # expect: app not-supported
