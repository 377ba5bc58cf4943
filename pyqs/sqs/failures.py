"""Whatever AWS or botocore says went wrong, as one of ``pyqs.errors``.

Owns: the table of SQS error codes and the translation of botocore's exceptions. Pure; runs in any thread; shared with
the in-process store. Never lets a credential, a message body or a receipt handle into an error's text.
"""

from __future__ import annotations

import re

from pyqs.errors import (
    AccessDenied,
    ConfigError,
    CredentialsError,
    LeaseLost,
    PyQSError,
    QueueFull,
    QueueNotFound,
    SqsError,
    Throttled,
    Unreachable,
)

# Codes as in the SQS API reference (each action's Errors, and Common Errors); what they are called in the old query
# protocol and in the JSON one differs, both are here, without their "AWS.SimpleQueueService." or "...sqs#" prefix.
_CLASSES: dict[str, type[SqsError]] = {
    **dict.fromkeys(("QueueDoesNotExist", "NonExistentQueue"), QueueNotFound),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "AuthorizationError", "KmsAccessDenied", "UnauthorizedOperation"),
        AccessDenied,
    ),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "InvalidSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "MissingClientTokenId",
            "NotAuthorized",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        CredentialsError,
    ),
    **dict.fromkeys(("ReceiptHandleIsInvalid", "MessageNotInflight"), LeaseLost),
    **dict.fromkeys(
        (
            "KmsThrottled",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
        ),
        Throttled,
    ),
    "OverLimit": QueueFull,
    **dict.fromkeys(
        (
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "RequestTimeout",
            "RequestTimeoutException",
            "ServiceUnavailable",
        ),
        Unreachable,
    ),
}
#: Retried by the caller although they are no special class: they pass by themselves.
_PASSING = frozenset({"QueueDeletedRecently", "PurgeQueueInProgress", "KmsInvalidState"})
#: Wrong rather than stale credentials: the same ones will be refused again.
_HOPELESS = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "MissingClientTokenId",
        "UnrecognizedClientException",
    }
)
_BY_STATUS: dict[int, type[SqsError]] = {403: AccessDenied, 429: Throttled, 408: Unreachable}
#: What reading an answer raises that is not SQS's: no UTF-8, JSON of another shape, values of other types, too deep ones.
MALFORMED = (ValueError, AttributeError, TypeError, KeyError, RecursionError)
#: What botocore takes for the code of an answer that has none: the HTTP status.
_NO_CODE = re.compile(r"\d*\Z")

# SQS answers "Value <handle> for parameter ReceiptHandle is invalid. Reason: ..." with the code InvalidParameterValue.
_ABOUT_HANDLE = re.compile(r"receipt ?handle", re.IGNORECASE)
_OBJECT = re.compile(r"<[^<>]* object at 0x[0-9a-f]+>:? ?|[A-Z]\w+\([^()]*\): ")
_URL_USERINFO = re.compile(r"(://)[^/@\s]+@")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_%-]{60,}")
_PARAMETER = re.compile(r"parameter[^:,]*?:?\s*[\"']?([A-Z]\w+(?:\[\d+\])?(?:\.\w+)*)")
_LONGEST = 400


def has_no_code(code: str) -> bool:
    """Whether an answer had no error code of SQS's: it is a proxy's, and botocore gives its HTTP status instead."""
    return _NO_CODE.match(code) is not None


def error_from_code(code: str, message: str, *, queue: str = "", status: int | None = None, action: str = "") -> SqsError:
    """The error for SQS's code.

    Parameters:
        code: as SQS or boto3 gives it, with or without prefix ("AWS.SimpleQueueService.NonExistentQueue").
        message: SQS's text; what could be a secret or a receipt handle is taken out.
        queue: the queue's name or URL, if the call names one.
        status: the HTTP status, for codes that are not known.
        action: SQS's name of the call, e.g. "ReceiveMessage".
    """
    short = re.split(r"[#.]", code)[-1] if code else ""
    kind = _CLASSES.get(short)
    if kind is None and short == "InvalidParameterValue" and _ABOUT_HANDLE.search(message):
        kind = LeaseLost
    if kind is None and status is not None:
        kind = _BY_STATUS.get(status, Unreachable if status >= 500 else None)
    if status is not None and has_no_code(short) and kind in (None, AccessDenied):
        # SQS's own refusals have a code: this one is a proxy's or a firewall's, and says nothing about permissions or queues.
        kind, message = Unreachable, "refused without an SQS error code; a proxy or a firewall on the way?"
    retryable = True if short in _PASSING else False if short in _HOPELESS else None
    kind = kind or SqsError
    if kind is LeaseLost:
        text = "the receipt handle is no longer valid: the message was deleted, or its visibility timeout ran out"
    elif kind is CredentialsError:
        # SQS may quote the canonical request, session token included: none of its own words are kept.
        text = "the credentials have expired" if "Expired" in short else "the credentials were refused"
    else:
        text = scrub(message)
    return kind(_sentence(action, queue, f"{short}: {text}" if short else text), code=short, queue=queue, retryable=retryable)


def error_from_exception(exc: Exception, *, queue: str = "", action: str = "") -> PyQSError | None:
    """The error for an exception out of botocore, or None for one that is no failure of the call (a bug)."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(exc, boto.ClientError):
        error = exc.response.get("Error", {})
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if action and exc.operation_name != action:  # a call made inside this one (AssumeRole): it says nothing about this one
            code = scrub(str(error.get("Code", "")))
            text = f"the AWS credentials could not be fetched or renewed ({exc.operation_name}: {code})"
            return CredentialsError(_sentence(action, queue, text), code="NotRenewed", queue=queue)
        return error_from_code(
            str(error.get("Code", "")), str(error.get("Message", "")), queue=queue, status=status, action=action
        )
    if isinstance(exc, (boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError, boto.InvalidConfigError)):
        return ConfigError(scrub(str(exc)))
    if isinstance(exc, (boto.NoRegionError, boto.InvalidRegionError, boto.UnknownEndpointError)):
        return ConfigError(f"{scrub(str(exc))}; give --region or set AWS_REGION")
    if isinstance(exc, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        what = "no AWS credentials found" if isinstance(exc, boto.NoCredentialsError) else "the AWS credentials are incomplete"
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give --profile, or run with a role"
        return CredentialsError(
            _sentence(action, queue, f"{what}: {hint}"), code=type(exc).__name__, queue=queue, retryable=False
        )
    if isinstance(exc, _credential_failures()):
        text = f"the AWS credentials could not be fetched or renewed ({type(exc).__name__})"
        return CredentialsError(_sentence(action, queue, text), code=type(exc).__name__, queue=queue)
    if isinstance(exc, (boto.ParamValidationError, boto.MissingParametersError)):
        found = sorted(set(_PARAMETER.findall(str(exc))))
        text = "a parameter has a value that no SQS call takes" + (f": {', '.join(found)}" if found else "")
        return SqsError(_sentence(action, queue, text), code="ParamValidation", queue=queue, retryable=False)
    if isinstance(exc, boto.SSLError):
        return Unreachable(_sentence(action, queue, f"TLS failed: {scrub(str(exc))}"), code="SSLError", queue=queue)
    if isinstance(exc, ResponseParserError):
        return not_sqs(queue=queue, action=action)
    if isinstance(exc, (boto.BotoCoreError, OSError)):
        return Unreachable(_sentence(action, queue, scrub(str(exc))), code=type(exc).__name__, queue=queue)
    return None


def not_sqs(*, queue: str, action: str) -> Unreachable:
    """The error for an answer that is somebody else's: a captive portal's page, another service."""
    return Unreachable(
        _sentence(action, queue, "the answer is not SQS's; is the endpoint right?"), code="NoAnswer", queue=queue
    )


def error_from_answer(exc: Exception, *, queue: str = "", action: str = "") -> Unreachable | None:
    """The error for one of ``MALFORMED`` out of reading an answer, without its text, which can quote it; None for another."""
    if not isinstance(exc, MALFORMED):
        return None
    text = f"the answer is not SQS's, it cannot be read ({type(exc).__name__}); a proxy on the way?"
    return Unreachable(_sentence(action, queue, text), code="NoAnswer", queue=queue)


def error_from_transport(exc: Exception, *, queue: str = "", action: str = "") -> PyQSError | None:
    """The error for an exception of a request that went past botocore: urllib3's, or one of fetching credentials."""
    from ssl import SSLError

    from urllib3 import exceptions as http

    if isinstance(exc, (http.SSLError, SSLError)):
        return Unreachable(_sentence(action, queue, f"TLS failed: {scrub(str(exc))}"), code="SSLError", queue=queue)
    if isinstance(exc, http.HTTPError):
        # "<urllib3.connection.HTTPConnection object at 0x7f...>: Failed to establish a new connection: ..."
        text = _OBJECT.sub("", str(exc)) or "no answer"
        return Unreachable(_sentence(action, queue, scrub(text)), code=type(exc).__name__, queue=queue)
    return error_from_exception(exc, queue=queue, action=action)


def _credential_failures() -> tuple[type[Exception], ...]:
    from botocore import exceptions as boto

    # Some of these are younger than the oldest botocore we support.
    names = (
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "TokenRetrievalError",
        "SSOError",
        "LoginError",
        "RefreshWithMFAUnsupportedError",
        "InfiniteLoopConfigError",
        "UnauthorizedSSOTokenError",
    )
    return tuple(getattr(boto, name) for name in names if hasattr(boto, name))


def scrub(text: str) -> str:
    """AWS's text without user info in URLs and without long tokens (handles, signatures), on one line, shortened."""
    text = _URL_USERINFO.sub(r"\1***@", " ".join(text.split()))
    text = _LONG_TOKEN.sub("***", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _sentence(action: str, queue: str, text: str) -> str:
    name = queue.rstrip("/").rpartition("/")[2]
    where = " on ".join(part for part in (action, f"queue {name!r}" if name else "") if part)
    return f"{where}: {text}" if where else text
