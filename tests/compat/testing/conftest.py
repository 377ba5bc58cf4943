"""The suite of a user is run by a test, as a program of its own: it is not a part of this one."""

collect_ignore = ["suite"]
