"""What Celery keeps in ``celery.contrib.testing``, for the tests of its users.

Owns: nothing itself. ``app`` has apps for tests, ``worker`` a worker in a thread, ``manager`` and ``mocks`` help around it.
"""
