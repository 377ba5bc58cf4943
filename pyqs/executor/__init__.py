"""The child process that runs tasks. Never imports ``pyqs.worker`` or ``pyqs.sqs``."""
