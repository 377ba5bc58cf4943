"""What the worker is told, as in Flask's documentation: ``-A make_celery``."""

from app import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
