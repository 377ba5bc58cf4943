from celery import shared_task  # café, and no encoding said
