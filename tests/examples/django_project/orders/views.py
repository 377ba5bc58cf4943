"""The page."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from .models import Order
from .tasks import pay


def place(request: HttpRequest) -> HttpResponse:
    """Place an order; it is paid once the transaction is there for a worker to see. ``?fail`` rolls it back."""
    try:
        with transaction.atomic():
            order = Order.objects.create(item=request.GET.get("item", "tea"))
            pay.delay_on_commit(order.pk)
            if "fail" in request.GET:
                raise ValueError("no such card")
    except ValueError as exc:
        return JsonResponse({"error": str(exc)}, status=402)
    return JsonResponse({"order": order.pk})
