"""The examples are run by ``run.py``, on a Python that has their libraries; to the tests of this package they are no tests."""

collect_ignore = ["examples"]
