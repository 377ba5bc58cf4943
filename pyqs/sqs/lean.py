"""The ``Sqs`` whose hot calls go to SQS without botocore in between.

Owns: ``LeanSqs``: ReceiveMessage, DeleteMessageBatch, ChangeMessageVisibilityBatch, SendMessage and SendMessageBatch as one
JSON POST each, signed by ``signing``, over botocore's own urllib3 pools, with retries, clock-skew correction and errors as the
boto3 client has them. All else, credentials, endpoints and the control plane, stays with botocore. Runs in any thread; a forked
child learns anew. Never retries a receive. Where botocore's requests are not as expected, calls go through botocore, said once.

botocore spends 1 to 1.5 ms of CPU on a call: validating, building, signing and parsing by its model, with some twenty hooks.
"""

from __future__ import annotations

import email.utils
import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from pyqs.config import ConnectionConfig
from pyqs.errors import CredentialsError, SqsError
from pyqs.sqs.boto import CALL_ATTEMPTS, BotoSqs
from pyqs.sqs.exchange import Answer, post
from pyqs.sqs.failures import MALFORMED, error_from_code, error_from_exception, error_from_transport, not_sqs
from pyqs.sqs.retries import Retries
from pyqs.sqs.shapes import REQUIRED, as_json
from pyqs.sqs.template import DoesNotApply, Template, instrumented, learn

log = logging.getLogger(__name__)

#: Seconds by which our clock must differ from SQS's for a refused signature to be its fault. SQS takes five minutes.
SKEW = 240.0
#: Codes with which SQS refuses a signature of the wrong time.
_CLOCK_CODES = frozenset(
    {"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "AuthFailure"}
)


_as_json = json.JSONEncoder(separators=(",", ":"), default=as_json).encode


class LeanSqs(BotoSqs):
    """SQS by hand where it is called often; see ``pyqs.sqs.Sqs`` for what each method promises.

    Parameters:
        insist: go past botocore even where something has instrumented it.

    Raises:
        ConfigError: as ``BotoSqs``.
    """

    def __init__(self, connection: ConnectionConfig, *, insist: bool = False) -> None:
        self._insist = insist
        #: Seconds by which SQS's clock is ahead of ours.
        self._skew = 0.0
        super().__init__(connection)

    def _reset(self) -> None:
        super()._reset()
        self._learning = threading.Lock()
        #: By kind of client (is it for polls): the client, and what was learned of it; None: it does not apply.
        self._templates: dict[bool, tuple[Any, Template | None]] = {}
        self._retries = Retries(CALL_ATTEMPTS)
        self._said = False

    def _hot(self, action: str, queue_url: str, params: Mapping[str, Any], *, poll: bool = False) -> dict[str, Any]:
        client = self._client(poll=poll)
        template = self._template(client, poll, action, queue_url)
        if template is None:
            return super()._hot(action, queue_url, params, poll=poll)
        self._check_region(queue_url)
        try:
            body = _as_json({"QueueUrl": queue_url, **params}).encode("ascii")
        except (TypeError, ValueError) as exc:
            text = f"{action}: a parameter has a value that no SQS call takes: {exc}"
            raise SqsError(text, code="ParamValidation", queue=queue_url, retryable=False) from None
        attempt = 1
        while True:
            exchange = _Exchange(template, action, queue_url)
            try:
                answer = exchange.made(body, time.time() + self._skew)
                if not poll:
                    self._retries.worked(attempt)
                return answer
            except SqsError as error:
                if self._corrects_clock(error, exchange.server_time):
                    continue
                if isinstance(error, CredentialsError):
                    self._renew(client)
                pause = None if poll else self._retries.pause(
                    error, attempt, timed_out=exchange.timed_out, retry_after=exchange.retry_after
                )  # fmt: skip
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1

    def _template(self, client: Any, poll: bool, action: str, queue_url: str) -> Template | None:
        known = self._templates.get(poll)
        if known is not None and known[0] is client:
            return known[1]
        with self._learning:
            known = self._templates.get(poll)
            if known is not None and known[0] is client:
                return known[1]
            with self._lock:
                current = client is (self._polls if poll else self._calls)
                session = self._session
            if not current:
                return None  # its credentials were refused meanwhile: this call finds the new one
            template: Template | None = None
            try:
                wrapper = None if self._insist else instrumented()
                if wrapper is not None:
                    raise DoesNotApply(f"{wrapper} has instrumented botocore; --client lean goes past it, without its traces")
                template = learn(client, session)
            except DoesNotApply as exc:
                if not self._said:
                    self._said = True
                    log.info("calls to SQS go through botocore: %s", exc)
            except Exception as exc:
                error = error_from_exception(exc, queue=queue_url, action=action)
                if error is None:
                    raise
                if isinstance(error, CredentialsError):
                    self._renew(client)
                raise error from None  # not "from exc": its text can hold a token
            self._templates[poll] = (client, template)
            return template

    def _corrects_clock(self, error: SqsError, server_time: float | None) -> bool:
        """Whether the refusal is our clock's fault; the next signature is then for SQS's time."""
        if server_time is None or error.code not in _CLOCK_CODES:
            return False
        skew = server_time - time.time()
        if abs(skew - self._skew) < SKEW:
            return False
        self._skew = skew if abs(skew) >= SKEW else 0.0
        log.warning("this machine's clock differs from SQS's by %.0f s; requests are signed for SQS's time", -skew)
        return True


class _Exchange:
    """One request and its answer."""

    def __init__(self, template: Template, action: str, queue_url: str) -> None:
        self._template = template
        self._action = action
        self._queue_url = queue_url
        #: The Date of the answer, seconds since the epoch.
        self.server_time: float | None = None
        #: Seconds that the answer asks to wait.
        self.retry_after: float | None = None
        self.timed_out = False

    def made(self, body: bytes, at: float) -> dict[str, Any]:
        """Post it, signed for this time; SQS's answer.

        Raises:
            SqsError: SQS refused it, nobody answered, or not SQS did.
        """
        template, target = self._template, f"{self._template.target_prefix}.{self._action}"
        try:
            credentials = template.credentials.get_frozen_credentials()
            signed = template.signer.sign(credentials, at, body, {"x-amz-target": target})
            headers = {"X-Amz-Target": target, **signed}
            answer = post(template.pool, template.request_target, template.constant, headers, body)
        except Exception as exc:
            error = error_from_transport(exc, queue=self._queue_url, action=self._action)
            self.timed_out = isinstance(exc, TimeoutError) or "Timeout" in type(exc).__name__
            if error is None:
                raise
            raise error from None
        if answer.status != 200:
            raise self._refusal(answer)
        return self._content(answer)

    def _content(self, answer: Answer) -> dict[str, Any]:
        if "html" not in answer.headers.get("content-type", ""):
            try:
                content = json.loads(answer.data.decode() or "{}")
            except MALFORMED:
                content = None
            if isinstance(content, dict) and REQUIRED.get(self._action, frozenset()) <= content.keys():
                return content
        raise not_sqs(queue=self._queue_url, action=self._action)

    def _refusal(self, answer: Answer) -> SqsError:
        """SQS's error: its code in a header as in the query protocol, else as the JSON names it."""
        headers = answer.headers
        self.server_time = _seconds(headers.get("date"))
        asked = headers.get("x-amz-retry-after", "")
        self.retry_after = int(asked) / 1000 if asked.isdecimal() else None
        try:
            said = json.loads(answer.data)
        except MALFORMED:
            said = {}
        if not isinstance(said, dict):
            said = {}
        code = headers.get("x-amzn-query-error", "").partition(";")[0] or str(said.get("__type", ""))
        text = str(said.get("message") or said.get("Message") or "")
        return error_from_code(code, text, queue=self._queue_url, status=answer.status, action=self._action)


def _seconds(date: str | None) -> float | None:
    """An HTTP date as seconds since the epoch."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
