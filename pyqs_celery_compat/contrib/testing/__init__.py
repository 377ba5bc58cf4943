"""What Celery keeps in ``celery.contrib.testing``, for the tests of its users.

Owns: nothing itself. There are apps for tests and the mocks; a worker inside a test's process there is not.
"""
