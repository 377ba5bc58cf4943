pytest_plugins = ("celery.contrib.pytest",)  # expect: tests same


def test_with_a_worker(celery_app, celery_worker):  # expect: tests difference
    pass


def helper(celery_worker):
    pass
