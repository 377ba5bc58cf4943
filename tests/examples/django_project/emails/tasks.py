"""Mail to customers."""

from __future__ import annotations

from celery import shared_task
from orders.models import Order


@shared_task(name="emails.confirm", ignore_result=True)
def confirm(order_id: int) -> None:
    """Say that the order was paid."""
    Order.objects.filter(pk=order_id, paid=True).update(mailed=True)
