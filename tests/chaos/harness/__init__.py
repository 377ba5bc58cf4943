"""The chaos suite's harness: workers that are ended, an SQS that is watched, a ledger outside both, and checks of it.

``faces`` (how a task is sent and a worker called), ``watched`` (the SQS and what it was asked), ``crew`` (workers and their
ends), ``ledger`` (what ran), ``checks`` (what must hold), ``report`` (one line of JSON a row).
"""
