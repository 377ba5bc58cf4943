"""What Celery keeps in ``celery.contrib.testing``, for the tests of its users.

Owns: nothing itself. So far there are the mocks.
"""
