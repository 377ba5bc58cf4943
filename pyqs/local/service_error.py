"""SQS's own errors, as the service answers them.

Owns: ``ServiceError``, and the tie between the error shapes of SQS's JSON protocol and the older codes of its query
protocol that SDKs still show. Pure; used wherever the embedded SQS runs. Never logs.

Source: the SQS API reference (errors of each action) and "Interpreting Amazon SQS JSON API responses" of the SQS
developer guide, which gives the ``x-amzn-query-error`` header.
"""

from __future__ import annotations

_PREFIX = "AWS.SimpleQueueService."

#: JSON shape -> the legacy code, where the two differ.
_LEGACY_CODES = {
    "QueueDoesNotExist": _PREFIX + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingRequiredParameterException": "MissingParameter",
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "InternalFailureException": "InternalError",
    "ServiceUnavailableException": "ServiceUnavailable",
    **{
        shape: _PREFIX + shape
        for shape in (
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidBatchEntryId",
            "MessageNotInflight",
            "PurgeQueueInProgress",
            "QueueDeletedRecently",
            "TooManyEntriesInBatchRequest",
            "UnsupportedOperation",
        )
    },
}

#: Shapes that belong to the framework under every AWS service, not to SQS.
_GENERIC = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InternalFailureException",
        "InvalidParameterValueException",
        "MissingRequiredParameterException",
        "SerializationException",
        "ServiceUnavailableException",
        "ThrottlingException",
        "UnknownOperationException",
    }
)


class ServiceError(Exception):
    """SQS refuses a call, or one entry of a batch.

    Parameters:
        shape: the error's name in the JSON protocol, without its namespace.
        message: what SQS says.
        status: HTTP status of the answer.
    """

    def __init__(self, shape: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{shape}: {message}")
        self.shape = shape
        self.message = message
        self.status = status

    @property
    def code(self) -> str:
        """The code of the query protocol, which boto3 shows as ``Error.Code``."""
        return _LEGACY_CODES.get(self.shape, self.shape)

    @property
    def type(self) -> str:
        """``__type`` of the JSON body."""
        namespace = "com.amazon.coral.service" if self.shape in _GENERIC else "com.amazonaws.sqs"
        return f"{namespace}#{self.shape}"

    @property
    def sender_fault(self) -> bool:
        """True when the caller is to blame, not the service."""
        return self.status < 500


def bad_parameter(value: object, name: str, reason: str) -> ServiceError:
    """InvalidParameterValue in SQS's wording."""
    return ServiceError("InvalidParameterValueException", f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> ServiceError:
    """MissingParameter in SQS's wording."""
    return ServiceError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")


def no_such_queue() -> ServiceError:
    """QueueDoesNotExist in SQS's wording."""
    return ServiceError("QueueDoesNotExist", "The specified queue does not exist.")
