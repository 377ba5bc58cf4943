"""What the shop knows of an order."""

from django.db import models


class Order(models.Model):
    """An order; ``paid`` and ``mailed`` are what tasks have done for it."""

    item = models.CharField(max_length=80)
    paid = models.BooleanField(default=False)
    mailed = models.BooleanField(default=False)
    #: The database's session in which it was paid, on PostgreSQL.
    session = models.IntegerField(default=0)
