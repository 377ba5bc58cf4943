#!/bin/sh
echo "starting the celery container"
cd celery && ls worker
exec celery -A proj worker \
  --hostname=w1@%h \
  --max-tasks-per-child 100  # pyqs: ok
python -m celery -A proj status  # expect: command difference
celery -A proj purge -f  # pyqs: ok
