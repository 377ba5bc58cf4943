"""Owns: nothing; Django looks for commands below it."""
