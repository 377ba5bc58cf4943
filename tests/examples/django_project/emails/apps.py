"""An app with a configuration of its own: ``INSTALLED_APPS`` names the class."""

from django.apps import AppConfig


class EmailsConfig(AppConfig):
    name = "emails"
