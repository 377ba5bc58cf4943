"""The tasks of ``bench_app`` inside a Django project whose imports are padded to ``BENCH_PADDING`` MB: a real site's size.

Owns: Django's settings and the padding: modules of functions and classes with docstrings, in ``BENCH_PADDING_FOLDER``, imported
until the process is that large.
"""

import importlib
import os
import sys

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.admin"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECRET_KEY="bench",
    USE_TZ=True,
)
django.setup()

from bench_app import app  # noqa: E402, F401


def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


sys.path.append(os.environ["BENCH_PADDING_FOLDER"])
padding = []
while rss() < float(os.environ["BENCH_PADDING"]):
    padding.append(importlib.import_module(f"padding_{len(padding)}"))
