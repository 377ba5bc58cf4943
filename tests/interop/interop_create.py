"""Run as a program: ``interop_create.py JSON`` calls a task on each of some queues that do not exist, under transport
options."""

import json
import sys

import interop_tasks as tasks

transport, queues = json.loads(sys.argv[1])
app = tasks.make("creates", transport=transport)
for queue in queues:
    options = {"MessageGroupId": "g", "MessageDeduplicationId": "1"} if queue.endswith(".fifo") else {}
    app.send_task("interop.record", (1,), queue=queue, **options)
print(json.dumps({"lines": []}))
