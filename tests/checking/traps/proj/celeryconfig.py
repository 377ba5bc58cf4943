from kombu import Queue  # expect: import same

broker_url = ["sqs://", "sqs://elsewhere"]  # expect: setting not-supported
result_backend = "mongodb://db"  # expect: setting not-supported
task_queues = [Queue("main"), Queue("other")]  # expect: setting same
task_default_queue = "main"  # expect: setting same
imports = ("proj.tasks",)  # expect: setting same
security_key = "/etc/key"  # expect: setting not-supported
something = "else"
worker_max_memory_per_child = 200_000  # expect: setting difference
task_reject_on_worker_lost = False  # expect: setting same
task_time_limit = 30  # expect: setting same
