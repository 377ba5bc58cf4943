"""Run as a program: reads ``[[number, [arguments of each of its header]], ...]`` and calls these chords."""

import json
import sys

from chaos_tasks import FACE, body, body_id, part

if FACE.startswith("celery"):
    from celery import chord
else:
    from pyqs_celery_compat import chord

for number, header in json.load(sys.stdin):
    after = body.s(number=number, header=[args[0] for args in header]).set(task_id=body_id(number))
    chord([part.s(*args) for args in header], after).apply_async()
