"""A Django project's settings."""
import os
from datetime import timedelta

HOUR = 60 * 60
_SCHEME = "redis"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django_celery_results",  # expect: library same
    "import_export_celery",  # expect: library look
    "proj.celery_stuff",
]
INSTALLED_APPS += ["django_celery_beat"]  # expect: library same

CELERY_BROKER_URL = os.environ.get("BROKER", "sqs://")  # expect: setting look
CELERY_RESULT_BACKEND = f"{_SCHEME}://cache/1"  # expect: setting same
CELERY_TASK_SERIALIZER = "fernet"  # expect: setting same
CELERY_RESULT_SERIALIZER = "nobody-registers-this"  # expect: setting look
CELERY_BROKER_TRANSPORT_OPTIONS = {  # expect: setting same
    "region": "eu-west-1",
    "visibility_timeout": 12 * HOUR,  # expect: setting difference, visibility-timeout difference
    "supports_fanout": True,  # expect: setting not-supported
}
CELERY_TASK_ROUTES = {  # expect: setting same
    "proj.tasks.*": {"queue": "main"},
    "proj.tasks.plain": {"queue": "main"},
    "proj.tasks.no_longer": {"queue": "main"},  # expect: unknown-task look
}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"  # expect: setting same
CELERY_BEAT_SCHEDULE: dict = {}  # expect: setting same
CELERYD_CONCURRENCY = 4  # expect: setting same
CELERY_WORKER_AUTOSCALER = "proj.scaling:Autoscaler"  # expect: setting not-supported
CELERY_TASK_QUEUE_MAX_PRIORITY = 10  # expect: setting difference
CELERY_TASK_ACK_LATE = True  # expect: setting look
CELERY_OF_OUR_OWN = "anything"  # expect: setting same
CELERY_RESULT_EXPIRES = timedelta(days=1)  # expect: setting same
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True  # expect: setting difference
CELERY_TASK_ACKS_LATE = "False"  # expect: setting not-supported
BROKER_TRANSPORT_NOT_CELERYS = 1
REDIS_HOST = "cache"
CELERY_REDBEAT_REDIS_URL = "redis://cache"  # expect: library same


def local_variables():
    CELERY_BROKER_URL = "amqp://never.read"
    return CELERY_BROKER_URL
