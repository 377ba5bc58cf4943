"""Embedded SQS: queues in SQLite, in-process or behind SQS's JSON protocol, for development and tests.

Owns: ``store`` (the queues), ``inprocess`` (the engine's interface to it), ``server`` (HTTP), ``faults`` (what goes
wrong on purpose), ``serve`` (the process). It is not a production queue: production is SQS.
"""
