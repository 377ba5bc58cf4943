"""AWS Signature Version 4 for one endpoint, at the price of two hashes a request.

Owns: ``Signer``: the canonical request of a POST whose headers hardly change, and the day's key. Pure but for the key it
keeps; any thread. Never fetches a credential, never reads a clock, never shows a key.

Source: "Signature Version 4 signing process" of the AWS documentation. botocore's own signer is the oracle of the tests, and
every client is checked against it once before its first own request (``template.learn``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import HMAC, digest
from typing import Protocol

ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"


class Credentials(Protocol):
    """What botocore's frozen credentials have."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _DayKey:
    secret: str = field(repr=False)
    day: str
    #: Copied for each request: cheaper than a key, and unlike ``hmac.digest`` it does not let go of the interpreter lock.
    keyed: HMAC = field(repr=False)


class Signer:
    """Signs POSTs to one URL.

    Parameters:
        region: of the credential's scope, e.g. "eu-west-1".
        service: of the scope: "sqs".
        path: of the URL, as it stands in the request line, quoted.
        host: the Host header.
        headers: lower-case names and values of the other headers to sign that are always the same.
        varying: lower-case names of those that are given with each request, besides the date and the token.
    """

    def __init__(
        self, *, region: str, service: str, path: str, host: str, headers: Mapping[str, str], varying: Sequence[str]
    ) -> None:
        self._scope_end = f"{region}/{service}/{_TERMINATOR}"
        self._region = region
        self._service = service
        self._start = f"POST\n{path}\n\n"
        self._fixed = {**{name: _trimmed(value) for name, value in headers.items()}, "host": host}
        names = {*self._fixed, *varying, "x-amz-date"}
        self._names = sorted(names)
        self._names_with_token = sorted({*names, "x-amz-security-token"})
        self._key = _DayKey("", "", HMAC(b"", digestmod="sha256"))

    def sign(self, credentials: Credentials, at: float, body: bytes, varying: Mapping[str, str]) -> dict[str, str]:
        """The headers that authorise a request.

        Parameters:
            at: the time that the request is signed for, seconds since the epoch.
            body: what is posted.
            varying: values of the headers that were named so.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        values = {**self._fixed, **varying, "x-amz-date": stamp}
        signed = {"X-Amz-Date": stamp}
        names = self._names
        if credentials.token:
            names = self._names_with_token
            values["x-amz-security-token"] = signed["X-Amz-Security-Token"] = credentials.token
        lines = "".join([f"{name}:{values[name]}\n" for name in names])
        listed = ";".join(names)
        request = f"{self._start}{lines}\n{listed}\n{sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self._scope_end}"
        to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        keyed = self._keyed(credentials.secret_key, stamp[:8])
        keyed.update(to_sign.encode())
        signature = keyed.hexdigest()
        signed["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return signed

    def _keyed(self, secret: str, day: str) -> HMAC:
        """A hash that has begun with the key of date, region and service; four more hashes, once a day."""
        kept = self._key  # replaced as a whole, so that no thread sees half of one
        if kept.day == day and kept.secret == secret:
            return kept.keyed.copy()
        key = digest(f"AWS4{secret}".encode(), day.encode(), "sha256")
        for part in (self._region, self._service, _TERMINATOR):
            key = digest(key, part.encode(), "sha256")
        keyed = HMAC(key, digestmod="sha256")
        self._key = _DayKey(secret, day, keyed)
        return keyed.copy()


def _trimmed(value: str) -> str:
    """The canonical form of a header's value."""
    return " ".join(value.split())
