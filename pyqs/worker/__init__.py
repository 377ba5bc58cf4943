"""The parent process: it receives, keeps leases, hands deliveries to executors and settles them. Never decodes a body."""
