"""Queue names: the mapping to legal ones, default names, URLs and ARNs.

Owns: ``canonical_name`` (kombu's mapping, so that Celery and pyqs mean the same queue) and ``QueueAddress``. Pure;
runs in the parent and in whoever publishes. Makes no call to SQS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from pyqs.errors import ConfigError

#: SQS API reference, CreateQueue: "up to 80 characters. Valid values: alphanumeric characters, hyphens, underscores".
MAX_NAME = 80
FIFO = ".fifo"

_PUNCTUATION = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
#: kombu's SQS transport: '.' becomes '-', '-' and '_' stay, all other ASCII punctuation becomes '_'.
CANONICAL = str.maketrans({".": "-", **dict.fromkeys(_PUNCTUATION, "_")})
_LEGAL = re.compile(r"[A-Za-z0-9_-]+")
_ILLEGAL_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?$|\.api\.aws$|\.amazonwebservices\.com\.cn$")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")


@lru_cache(maxsize=1024)
def canonical_name(name: str, prefix: str = "") -> str:
    """The SQS name of a logical queue name, exactly as kombu's SQS transport maps it.

    ``prefix`` (Celery's ``queue_name_prefix``) goes in front and is mapped with it; a ``.fifo`` ending stays.
    Legal names map to themselves. The answer may still be illegal (spaces, letters outside ASCII, length): ``check_name``.
    """
    full = prefix + name
    if full.endswith(FIFO):
        return full[: -len(FIFO)].translate(CANONICAL) + FIFO
    return full.translate(CANONICAL)


@lru_cache(maxsize=1024)
def name_problem(name: str) -> str | None:
    """What makes this name illegal for SQS, in words, or None."""
    stem = name[: -len(FIFO)] if name.endswith(FIFO) else name
    if not stem:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, SQS takes {MAX_NAME}"
    if not _LEGAL.fullmatch(stem):
        bad = sorted({char for char in stem if not _LEGAL.fullmatch(char)})
        return f"SQS takes only letters, digits, '-' and '_' (and .fifo at the end), not {' '.join(map(repr, bad))}"
    return None


def check_name(name: str) -> str:
    """The name itself when SQS takes it; else a ConfigError that names it and says why not."""
    problem = name_problem(name)
    if problem:
        raise ConfigError(f"queue name {name!r} is not possible: {problem}")
    return name


def default_queue_name(function_path: str) -> str:
    """The queue of a native task that names none: its function path, mapped to a legal name.

    Raises:
        ConfigError: the path is too long for a queue's name; says to give ``queue=``.
    """
    name = _ILLEGAL_CHARACTER.sub("_", function_path.translate(CANONICAL))
    problem = name_problem(name)
    if problem:
        raise ConfigError(f"the path of task {function_path!r} cannot be its queue's name: {problem}; give @task(queue='...')")
    return name


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """What a queue URL or ARN says. ``region`` is "" where the host does not tell (emulators)."""

    name: str
    account: str
    region: str
    partition: str = "aws"

    def url(self, endpoint_url: str = "") -> str:
        """The queue's URL: at the given endpoint, or at AWS's own for its region."""
        if endpoint_url:
            return f"{endpoint_url.rstrip('/')}/{self.account}/{self.name}"
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"https://sqs.{self.region}.{suffix}/{self.account}/{self.name}"


def is_url(text: str) -> bool:
    """Whether this is a queue URL, not a name."""
    return text.startswith(("http://", "https://"))


def is_arn(text: str) -> bool:
    """Whether this is an ARN, not a name."""
    return text.startswith("arn:")


def is_aws_host(host: str) -> bool:
    """Whether this is a host of AWS itself (VPC endpoints included), not an emulator."""
    return _AWS_HOST.search(host) is not None


def region_of_host(host: str) -> str:
    """The region in an AWS host name (sqs.eu-west-1.amazonaws.com, vpce-...sqs.eu-west-1.vpce...), or ""."""
    if not is_aws_host(host):
        return ""
    found = [label for label in host.split(".") if _REGION.fullmatch(label)]
    return found[-1] if found else ""


@lru_cache(maxsize=4096)
def name_from_url(url: str) -> str:
    """The queue's name in its URL: the last part of the path."""
    return url.rstrip("/").rpartition("/")[2]


def parse_url(url: str) -> QueueAddress:
    """A queue URL taken apart.

    Raises:
        ConfigError: no host, or no account and name in the path.
    """
    parts = urlsplit(url)
    path = [part for part in parts.path.split("/") if part]
    if not parts.hostname or len(path) < 2:
        raise ConfigError(f"{url!r} is no queue URL; one looks like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
    return QueueAddress(check_name(path[-1]), path[-2], region_of_host(parts.hostname))


def parse_arn(arn: str) -> QueueAddress:
    """An ARN ``arn:PARTITION:sqs:REGION:ACCOUNT:NAME`` taken apart.

    Raises:
        ConfigError: it is no SQS queue's ARN.
    """
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sqs" or not all(parts):
        raise ConfigError(f"{arn!r} is no queue ARN; one looks like arn:aws:sqs:REGION:ACCOUNT:NAME")
    return QueueAddress(check_name(parts[5]), parts[4], parts[3], parts[1])


def rebase_url(url: str, endpoint_url: str) -> str:
    """The URL with the endpoint's scheme and host, path kept: emulators and VPC endpoints name hosts that do not answer."""
    wanted, found = urlsplit(endpoint_url), urlsplit(url)
    if (wanted.scheme, wanted.netloc) == (found.scheme, found.netloc):
        return url
    return f"{wanted.scheme}://{wanted.netloc}{wanted.path.rstrip('/')}{found.path}"
