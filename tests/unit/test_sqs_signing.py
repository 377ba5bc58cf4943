"""Our signatures beside those of botocore's own signer."""

from __future__ import annotations

import calendar
import time
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from pyqs.sqs.signing import Signer

KEYS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=24)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
TOKENS = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=400)
REGIONS = st.sampled_from(["us-east-1", "cn-north-1", "us-gov-west-1", "eu-central-2", "us-iso-east-1"])
HOSTS = st.sampled_from(["sqs.eu-west-1.amazonaws.com", "127.0.0.1:9324", "[::1]:4566", "sqs.us-east-1.api.aws"])
PATHS = st.sampled_from(["/", "/base/", "/a-b_c.d~e"])
TARGETS = st.sampled_from(["AmazonSQS.ReceiveMessage", "AmazonSQS.SendMessageBatch"])
#: With double spaces, which the canonical form folds.
FIXED = {"content-type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true", "x-odd": "  a   b "}


def botocores(credentials: Credentials, region: str, host: str, path: str, target: str, body: bytes) -> Any:
    request = AWSRequest("POST", f"https://{host}{path}", {**FIXED, "X-Amz-Target": target, "Host": host}, body)
    SigV4Auth(credentials, "sqs", region).add_auth(request)
    return request.headers


@given(KEYS, SECRETS, TOKENS, REGIONS, HOSTS, PATHS, TARGETS, st.binary(max_size=2000))
@settings(max_examples=300, deadline=None)
def test_every_signature_is_botocores(
    key: str, secret: str, token: str | None, region: str, host: str, path: str, target: str, body: bytes
) -> None:
    credentials = Credentials(key, secret, token)
    theirs = botocores(credentials, region, host, path, target, body)
    signer = Signer(region=region, service="sqs", path=path, host=host, headers=FIXED, varying=("x-amz-target",))
    at = calendar.timegm(time.strptime(theirs["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    for _ in range(2):  # the second time with the day's key at hand
        ours = signer.sign(credentials.get_frozen_credentials(), at, body, {"x-amz-target": target})
        assert ours["Authorization"] == theirs["Authorization"]
        assert ours["X-Amz-Date"] == theirs["X-Amz-Date"]
        assert ours.get("X-Amz-Security-Token") == token


def test_a_new_day_and_new_credentials_have_a_key_of_their_own() -> None:
    def signer() -> Signer:
        return Signer(region="eu-west-1", service="sqs", path="/", host="h", headers=FIXED, varying=("x-amz-target",))

    kept = signer()
    first, second = (Credentials("AKID", secret).get_frozen_credentials() for secret in ("one", "two"))
    for credentials, at in ((first, 0), (first, 86_399), (first, 86_400), (second, 86_400), (first, 86_401)):
        ours = kept.sign(credentials, at, b"x", {"x-amz-target": "t"})
        assert ours == signer().sign(credentials, at, b"x", {"x-amz-target": "t"})


@pytest.mark.parametrize("secret", ["s3cr3t-s3cr3t"])
def test_no_key_is_shown(secret: str) -> None:
    signer = Signer(region="eu-west-1", service="sqs", path="/", host="h", headers={}, varying=())
    signer.sign(Credentials("AKID", secret).get_frozen_credentials(), 0, b"", {})
    assert secret not in f"{signer!r} {signer._key!r}"
