"""The worker: the parent process that talks to SQS and hands deliveries to executors."""
