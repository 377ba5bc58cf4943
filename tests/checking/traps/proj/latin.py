# -*- coding: latin-1 -*-
# café
from celery import shared_task  # expect: import same
from celery.apps.worker import Worker  # expect: import difference
