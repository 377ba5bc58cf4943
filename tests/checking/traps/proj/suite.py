pytest_plugins = ("celery.contrib.pytest",)  # expect: tests difference


def test_with_a_worker(celery_app, celery_worker):  # expect: tests not-supported
    pass


def helper(celery_worker):
    pass
