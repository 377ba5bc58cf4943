"""The subcommands of ``pyqs``, one module each. Imported by ``pyqs.cli.main`` only when a command line runs."""
