"""What happens to an order after the page has been shown."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.contrib.django.task import DjangoTask
from django.db import connection

from .models import Order


@shared_task(bind=True, base=DjangoTask, max_retries=3)  # celery-types knows delay_on_commit of tasks that say so
def pay(self: Any, order_id: int) -> bool:
    """Take the money, then have the customer told."""
    from emails.tasks import confirm

    order = Order.objects.get(pk=order_id)
    order.paid = True
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            order.session = cursor.fetchone()[0]
    order.save()
    confirm.delay(order_id)
    return True
