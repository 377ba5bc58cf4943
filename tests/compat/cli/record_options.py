"""What genuine Celery's commands take, as JSON: ``python record_options.py`` in an environment that has Celery."""

from __future__ import annotations

import json

import click
from celery.bin.celery import celery


def options(command: click.Command) -> list[list[str]]:
    return [[*param.opts, *param.secondary_opts] for param in command.params if isinstance(param, click.Option)]


found = {"": options(celery), **{name: options(command) for name, command in sorted(celery.commands.items())}}
print(json.dumps(found, indent=1))
