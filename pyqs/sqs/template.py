"""What botocore would send, learned from botocore itself, so that the lean client sends the same.

Owns: ``Template`` (one endpoint's URL, constant headers, signer, connection pool) and ``learn``, which has botocore prepare
one request and keeps it from being sent. Whatever a client's configuration decides (endpoint rules, regions and partitions,
FIPS, dual stack, proxies, CA bundles, client certificates) is thereby decided by botocore. Runs once a client, in the thread
of its first call, which may fetch credentials. Never sends anything and never guesses: what is not as expected is
``DoesNotApply``.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass, field
from time import strptime
from types import FunctionType
from typing import Any
from urllib.parse import urlsplit

from pyqs.sqs.signing import ALGORITHM, Signer

#: Headers that are made anew for each request, or are botocore's own bookkeeping of retries.
_MADE = frozenset(
    {"authorization", "content-length", "x-amz-date", "x-amz-security-token", "x-amz-target", "amz-sdk-invocation-id",
     "amz-sdk-request"}
)  # fmt: skip
_TARGET = "x-amz-target"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=[^/]+/\d{{8}}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)
#: A header of the answer that nobody gave.
_OURS = "x-pyqs-not-sent"
_QUEUE = "https://sqs.invalid/0/pyqs-asks-botocore-and-sends-nothing"


class DoesNotApply(Exception):
    """Calls have to go through botocore; the text says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """How to reach one endpoint.

    Parameters:
        signer: for its requests.
        constant: the headers that are always the same, as they are written.
        target_prefix: what stands before an action's name in X-Amz-Target.
        credentials: botocore's, which refresh themselves.
        pool: urllib3's connection pool, botocore's own, with its TLS, proxy and timeout settings.
        request_target: what stands in the request line.
    """

    signer: Signer = field(repr=False)
    constant: bytes = field(repr=False)
    target_prefix: str
    credentials: Any = field(repr=False)
    pool: Any
    request_target: str


def instrumented() -> str | None:
    """The module that has put itself around botocore's calls (OpenTelemetry, X-Ray, ...), None where nothing has.

    botocore's own function is a plain one of its package; what instruments it puts an object or a function of its own there.
    """
    from botocore.client import BaseClient

    call: Any = BaseClient._make_api_call
    if not isinstance(call, FunctionType):
        wrapper = getattr(call, "_self_wrapper", None)  # wrapt's, which both use
        return str(getattr(wrapper, "__module__", None) or type(call).__module__)
    module = str(call.__globals__.get("__name__", ""))
    return None if module.partition(".")[0] == "botocore" else module


def learn(client: Any, session: Any) -> Template:
    """Have a botocore client prepare one request, and take it apart.

    Parameters:
        client: made by ``session``; new, so that a handler may be added to it.
        session: whose credentials sign.

    Raises:
        DoesNotApply: something answers or changes botocore's requests, or it signs in another way than we would.
        Exception: whatever botocore raises, where it finds no credentials for example.
    """
    request = _prepared(client)
    credentials = session.get_credentials()
    if credentials is None:
        raise DoesNotApply("requests are not signed with credentials of the session")
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    prefix, _, action = headers.get(_TARGET, "").rpartition(".")
    if request.method != "POST" or found is None or action != "ReceiveMessage":
        raise DoesNotApply("botocore speaks to this endpoint in another protocol, or signs in another way")
    region, service, listed, signature = found.groups()
    constant = {name: value for name, value in headers.items() if name not in _MADE}
    signed = {name: constant[name] for name in listed.split(";") if name in constant and name != "host"}
    url = urlsplit(request.url)
    host = constant.get("host") or _host(url.scheme, url.hostname or "", url.port)
    signer = Signer(region=region, service=service, path=url.path or "/", host=host, headers=signed, varying=(_TARGET,))
    at = timegm(strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    ours = signer.sign(credentials.get_frozen_credentials(), at, _body(request.body), {_TARGET: headers[_TARGET]})
    if not ours["Authorization"].endswith(f"SignedHeaders={listed}, Signature={signature}"):
        raise DoesNotApply("botocore's signature of the same request is another one")
    pool, request_target = _pool(client, request.url)
    lines = {"Host": host, **{name.title(): value for name, value in constant.items() if name != "host"}}
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")
    return Template(signer, written, prefix, credentials, pool, request_target)


def _prepared(client: Any) -> Any:
    """The signed request that a ReceiveMessage of this client would be."""
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import ClientError

    kept: list[Any] = []

    def keep(request: Any, **_: Any) -> Any:
        kept.append(request)
        return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.0", _OURS: "1"}, _EmptyAnswer())

    # Of several answers botocore takes the first; those who asked for a narrower event, or earlier, come before us. Where the
    # answer is theirs, a mock or a stub plays SQS, and gets all calls.
    client.meta.events.register_last("before-send", keep)
    try:
        answer = client.receive_message(QueueUrl=_QUEUE)
    except ClientError as exc:
        if exc.operation_name != "ReceiveMessage":
            raise  # of fetching credentials
        answer = {}
    finally:
        client.meta.events.unregister("before-send", keep)
    if not kept or _OURS not in answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}):
        raise DoesNotApply("something else answers botocore's requests (a mock or a stub)")
    return kept[0]


class _EmptyAnswer:
    """The body of an answer that nobody gave."""

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield b"{}"


def _pool(client: Any, url: str) -> tuple[Any, str]:
    """botocore's own connection pool for this URL, and what to write into the request line.

    These attributes are botocore's own affair; a test holds that they are there, and without them calls go through botocore.
    """
    try:
        session = client._endpoint.http_session
        proxy = session._proxy_config.proxy_url_for(url)
        pool = session._get_connection_manager(url, proxy).connection_from_url(url)
        session._setup_ssl_cert(pool, url, session._verify)
        return pool, session._get_request_target(url, proxy)
    except AttributeError as exc:
        raise DoesNotApply(f"this botocore keeps its connections elsewhere ({exc})") from None


def _host(scheme: str, name: str, port: int | None) -> str:
    shown = f"[{name}]" if ":" in name else name
    return shown if port is None or port == {"http": 80, "https": 443}.get(scheme) else f"{shown}:{port}"


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _body(value: object) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else bytes(value or b"")  # type: ignore[call-overload]
