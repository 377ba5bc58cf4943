from .worker import application as celery_app  # the usual place
