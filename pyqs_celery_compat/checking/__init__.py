"""``pyqs check``: what of a codebase that uses Celery works here, what differs, and what is not supported.

Owns: nothing itself; ``check`` (in ``run``) is the way in. User code is read as syntax trees and never imported or executed
here; with ``-A`` the app is imported by a short-lived process of its own (``appinfo``).
"""
