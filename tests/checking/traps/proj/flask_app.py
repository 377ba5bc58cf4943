from flask import Flask


def create(config):
    app = Flask(__name__)
    app.config.from_mapping(
        CELERY={
            "broker_url": "redis://localhost",  # expect: setting not-supported
            "task_ignore_result": True,  # expect: setting same
        }
    )
    app.start()
    app.control.shutdown()
    return app
