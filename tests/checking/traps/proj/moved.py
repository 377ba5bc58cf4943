"""Has moved already: uses are seen, imports of ours are nobody's business."""
from pyqs_celery_compat import install_as_celery, shared_task
from pyqs_celery_compat.signals import worker_ready

install_as_celery()


@shared_task  # expect: task same
def moved():
    moved.apply_async(countdown=1)  # expect: eta difference


@worker_ready.connect  # expect: signal difference
def ready(**kwargs):
    pass
