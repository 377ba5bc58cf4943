"""Settings of the example: SQLite, or PostgreSQL where ``SHOP_POSTGRES_PORT`` says so; SQS at ``SHOP_SQS``."""

import os
from pathlib import Path
from typing import Any

SECRET_KEY = "an example keeps no secret"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
TIME_ZONE = "Europe/Prague"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["orders", "emails.apps.EmailsConfig", "pyqs_celery_compat.django"]
MIDDLEWARE: list[str] = []

_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("SHOP_DB", str(Path(__file__).parents[1] / "shop.sqlite3")),
    "OPTIONS": {"timeout": 20},
}
_POSTGRES = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "postgres",
    "HOST": "127.0.0.1",
    "PORT": os.environ.get("SHOP_POSTGRES_PORT", ""),
    "USER": os.environ.get("SHOP_POSTGRES_USER", "postgres"),
    "CONN_MAX_AGE": None,
}
DATABASES: dict[str, Any] = {"default": _POSTGRES if os.environ.get("SHOP_POSTGRES_PORT") else _SQLITE}

CELERY_BROKER_URL = f"sqs://test:test@{os.environ.get('SHOP_SQS', '127.0.0.1:9324')}"
CELERY_BROKER_TRANSPORT_OPTIONS = {"region": "us-east-1", "is_secure": False, "polling_interval": 0.1, "wait_time_seconds": 1}
CELERY_TASK_DEFAULT_QUEUE = "shop"
CELERY_TASK_ROUTES = {"emails.*": {"queue": "mail"}}
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
