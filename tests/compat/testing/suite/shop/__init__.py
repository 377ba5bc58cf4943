"""A small shop whose tasks a user tests."""
