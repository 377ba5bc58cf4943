from celery import shared_task  # expect: import same


@shared_task  # expect: task same
def careful():
    try:
        pass
    except ValueError, KeyError:
        careful.apply_async(countdown=5)  # expect: eta difference
