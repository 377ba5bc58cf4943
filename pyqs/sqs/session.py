"""Where the region, the endpoint and the credentials come from.

Owns: the botocore session of one connection. Runs in whatever thread makes the first call. botocore's own provider chain
does all the work (environment, profile, SSO, web identity, container and instance roles, each refreshed by itself); what
is added is a region's fallback, ``role_arn`` and credentials for loopback. Never logs or keeps a secret of its own.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError
from pyqs.queues.names import is_aws_host, region_of_host

#: Seconds for each of two tries to connect to STS, and to hear from it.
_STS_TIMEOUT = 5.0
# Any region will do for an emulator: it is only signed with, and nobody checks.
_EMULATOR_REGION = "us-east-1"


def build_session(connection: ConnectionConfig) -> Any:
    """A botocore session with the connection's profile, keys and role.

    Raises:
        ConfigError: the profile is unknown.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session(profile=connection.profile)
        # For the clients that the providers make (STS for a role or a web identity): they are asked inside whatever call finds
        # its credentials expired, and the SDK's own patience of minutes would make a poll look as if it hung.
        session.set_default_client_config(
            Config(connect_timeout=_STS_TIMEOUT, read_timeout=_STS_TIMEOUT, retries={"total_max_attempts": 2})
        )
        session.get_scoped_config()
    except BotoCoreError as exc:  # ProfileNotFound, ConfigParseError
        raise ConfigError(str(exc)) from None
    if connection.access_key_id and connection.secret_access_key:
        session.set_credentials(connection.access_key_id, connection.secret_access_key, connection.session_token)
    if connection.role_arn:
        session = _with_role(session, connection, connection.role_arn)
    elif is_loopback(configured_endpoint(connection)) and not _has_credentials(session):
        session.set_credentials("local", "local")
    return session


def _has_credentials(session: Any) -> bool:
    """Whether any provider answers; one that fails is there, and is asked again by the calls that need it."""
    from botocore.exceptions import BotoCoreError

    try:
        return session.get_credentials() is not None
    except BotoCoreError:
        return True


def find_region(connection: ConnectionConfig, session: Any) -> str:
    """The region: --region, AWS_REGION, AWS_DEFAULT_REGION, the profile's, the endpoint's, any for an emulator.

    Raises:
        ConfigError: none of them says.
    """
    endpoint = configured_endpoint(connection)
    host = urlsplit(endpoint).hostname or ""
    region = (
        connection.region
        or os.environ.get("AWS_REGION")
        or session.get_config_variable("region")
        or region_of_host(host)
        or (_EMULATOR_REGION if host and not is_aws_host(host) else "")
    )
    if not region:
        raise ConfigError(
            "no AWS region: give --region, or set AWS_REGION (AWS_DEFAULT_REGION and a profile's region are read too)"
        )
    return str(region)


def configured_endpoint(connection: ConnectionConfig) -> str:
    """The endpoint URL given by option or environment, "" for AWS's own. (A profile's is left to botocore.)"""
    return connection.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL") or ""


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_role(base: Any, connection: ConnectionConfig, role_arn: str) -> Any:
    """A session that assumes the role with the base session's credentials, and again before each expiry."""
    from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
    from botocore.session import Session

    region = connection.region or os.environ.get("AWS_REGION") or base.get_config_variable("region")

    def sts_client(service: str, **kwargs: Any) -> Any:
        return base.create_client(service, region_name=region, **kwargs)

    class RoleProvider(CredentialProvider):  # type: ignore[misc, unused-ignore]  # botocore has no types of its own
        METHOD = "pyqs-role-arn"

        def load(self) -> Any:
            source = base.get_credentials()
            if source is None:
                return None  # the chain goes on, finds nothing, and says so
            fetcher = AssumeRoleCredentialFetcher(
                sts_client, source, role_arn, extra_args={"RoleSessionName": f"pyqs-{os.getpid()}"}
            )
            return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")

    session = Session(profile=connection.profile)
    resolver = session.get_component("credential_provider")
    resolver.insert_before(resolver.providers[0].METHOD, RoleProvider(session))
    return session
