"""The table of orders, as ``makemigrations`` wrote it."""

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar[list[Any]] = []

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("item", models.CharField(max_length=80)),
                ("paid", models.BooleanField(default=False)),
                ("mailed", models.BooleanField(default=False)),
                ("session", models.IntegerField(default=0)),
            ],
        ),
    ]
