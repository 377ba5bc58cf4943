"""Every way AWS says no becomes a typed error that tells who must act, and never tells a secret."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from pyqs.errors import (
    AccessDenied,
    ConfigError,
    CredentialsError,
    LeaseLost,
    QueueFull,
    QueueNotFound,
    SqsError,
    Throttled,
    Unreachable,
)
from pyqs.sqs import error_from_code
from pyqs.sqs.failures import error_from_exception

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
HANDLE = "AQEB" + "wJnKyrHigUMZj6rYigCgxlaS3SLy0a" * 5 + "=="


@pytest.mark.parametrize(
    ("code", "status", "kind", "retryable"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", 400, QueueNotFound, False),
        ("QueueDoesNotExist", 400, QueueNotFound, False),
        ("com.amazonaws.sqs#QueueDoesNotExist", 400, QueueNotFound, False),
        ("AccessDenied", 403, AccessDenied, False),
        ("AccessDeniedException", 400, AccessDenied, False),
        ("KMS.AccessDeniedException", 400, AccessDenied, False),
        ("SomethingNew", 403, AccessDenied, False),
        ("", 403, Unreachable, True),
        ("403", 403, Unreachable, True),
        ("ExpiredToken", 403, CredentialsError, True),
        ("ExpiredTokenException", 400, CredentialsError, True),
        ("InvalidClientTokenId", 403, CredentialsError, False),
        ("UnrecognizedClientException", 400, CredentialsError, False),
        ("SignatureDoesNotMatch", 403, CredentialsError, True),
        ("ReceiptHandleIsInvalid", 404, LeaseLost, False),
        ("AWS.SimpleQueueService.MessageNotInflight", 400, LeaseLost, False),
        ("RequestThrottled", 403, Throttled, True),
        ("ThrottlingException", 400, Throttled, True),
        ("SomethingNew", 429, Throttled, True),
        ("OverLimit", 403, QueueFull, True),
        ("AWS.SimpleQueueService.OverLimit", 403, QueueFull, True),
        ("InternalError", 500, Unreachable, True),
        ("ServiceUnavailable", 503, Unreachable, True),
        ("503", 503, Unreachable, True),
        ("", 502, Unreachable, True),
        ("302", 302, Unreachable, True),
        ("", 400, Unreachable, True),
        ("400", 400, Unreachable, True),
        ("404", 404, Unreachable, True),
        ("", 407, Unreachable, True),
        ("429", 429, Throttled, True),
        ("AWS.SimpleQueueService.QueueDeletedRecently", 400, SqsError, True),
        ("InvalidParameterValue", 400, SqsError, False),
        ("UnsupportedOperation", 400, SqsError, False),
        ("", None, SqsError, False),
    ],
)
def test_each_code_has_its_class(code, status, kind, retryable) -> None:
    error = error_from_code(code, "some text", queue=URL, status=status, action="ReceiveMessage")
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.queue == URL
    assert str(error).startswith("ReceiveMessage on queue 'jobs': ")
    assert error.code == code.replace("#", ".").rpartition(".")[2]


@pytest.mark.parametrize(
    "reason", ["Message does not exist or is not available for visibility timeout change.", "The receipt handle has expired."]
)
def test_an_invalid_receipt_handle_by_any_code_is_a_lost_lease_that_does_not_show_it(reason) -> None:
    text = f"Value {HANDLE} for parameter ReceiptHandle is invalid. Reason: {reason}"
    error = error_from_code("InvalidParameterValue", text, queue=URL, status=400)
    assert type(error) is LeaseLost
    assert HANDLE not in str(error)


def test_the_twelve_hour_limit_is_not_a_lost_lease() -> None:
    text = "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout is beyond the limit"
    assert type(error_from_code("InvalidParameterValue", text)) is SqsError


def test_what_aws_quotes_of_a_request_is_not_repeated() -> None:
    quoted = "The Canonical String for this request should have been 'POST / x-amz-security-token:FwoGZXIvYXdzEBY'"
    assert "FwoGZXIvYXdzEBY" not in str(error_from_code("SignatureDoesNotMatch", quoted))
    assert HANDLE not in str(error_from_code("SomethingElse", f"what is {HANDLE}?"))


def test_access_denied_keeps_who_and_what() -> None:
    text = "User: arn:aws:iam::123456789012:user/jo is not authorized to perform: sqs:listqueues on resource: *"
    assert "arn:aws:iam::123456789012:user/jo" in str(error_from_code("AccessDenied", text, action="ListQueues"))


def client_error(code: str, message: str, status: int, operation: str = "SendMessage") -> boto.ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, operation)


def exceptions() -> list[tuple[Exception, type[Exception], bool]]:
    found: list[tuple[Exception, type[Exception], bool]] = [
        (client_error("AWS.SimpleQueueService.NonExistentQueue", "no", 400), QueueNotFound, False),
        (
            client_error("AccessDenied", "SECRET is not authorized to perform: sts:AssumeRole", 403, "AssumeRole"),
            CredentialsError,
            True,
        ),
        (boto.EndpointConnectionError(endpoint_url="http://KEY:SECRET@host:1"), Unreachable, True),
        (boto.ConnectTimeoutError(endpoint_url="http://host:1"), Unreachable, True),
        (boto.ReadTimeoutError(endpoint_url="http://host:1"), Unreachable, True),
        (boto.ConnectionClosedError(endpoint_url="http://host:1"), Unreachable, True),
        (boto.SSLError(endpoint_url="https://host:1", error="certificate verify failed"), Unreachable, True),
        (boto.ProxyConnectionError(proxy_url="http://user:SECRET@proxy:3128"), Unreachable, True),
        (boto.NoCredentialsError(), CredentialsError, False),
        (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), CredentialsError, False),
        (boto.CredentialRetrievalError(provider="sso", error_msg="token SECRET"), CredentialsError, True),
        (boto.ParamValidationError(report="Invalid type for parameter MessageBody, value: SECRET, type: x"), SqsError, False),
        (boto.ProfileNotFound(profile="nope"), ConfigError, False),
        (boto.NoRegionError(), ConfigError, False),
        (ResponseParserError("Unable to parse SECRET"), Unreachable, True),
        (OSError(24, "Too many open files"), Unreachable, True),
    ]
    return found


@pytest.mark.parametrize(("exc", "kind", "retryable"), exceptions(), ids=lambda value: type(value).__name__)
def test_every_exception_of_botocore_has_its_class_and_shows_no_secret(exc, kind, retryable) -> None:
    error = error_from_exception(exc, queue=URL, action="SendMessage")
    assert type(error) is kind
    assert "SECRET" not in str(error).replace("AWS_SECRET_ACCESS_KEY", "")
    if isinstance(error, SqsError):
        assert error.retryable is retryable
        assert "SendMessage" in str(error)
        assert "jobs" in str(error)


def test_missing_credentials_and_region_say_what_to_give() -> None:
    assert "AWS_ACCESS_KEY_ID" in str(error_from_exception(boto.NoCredentialsError()))
    assert "--region" in str(error_from_exception(boto.NoRegionError()))
    assert "MessageBody" in str(error_from_exception(exceptions()[11][0]))


def test_a_bug_is_not_an_answer_of_aws() -> None:
    assert error_from_exception(AttributeError("x")) is None
