"""The ``Sqs`` that talks to AWS through botocore.

Owns: ``BotoSqs``: two lazily made botocore clients (long polls; everything else), their timeouts and retries, and what is
made of each answer. Runs in any thread; a forked child makes clients of its own. Never retries a receive, never answers a
batch as a success because the call was one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError, CredentialsError, SqsError, Unreachable
from pyqs.message import MoveTask, OutgoingMessage, ReceivedMessage, SentMessage
from pyqs.queues.names import is_arn, is_aws_host, parse_arn, parse_url, rebase_url, region_of_host
from pyqs.sqs.answers import by_entry, checked, reading
from pyqs.sqs.failures import error_from_answer, error_from_exception, not_sqs
from pyqs.sqs.session import build_session, find_region
from pyqs.sqs.shapes import REQUIRED, move_handle, move_task, outgoing, received, sent
from pyqs.sqs.sockets import LiveSockets

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
#: Seconds without an answer after which a receive is given up: the longest wait and ten.
RECEIVE_TIMEOUT = 30.0
CALL_TIMEOUT = 10.0
#: Tries of a call that is not a receive. One hidden retry pair takes care of a dropped keep-alive connection or a
#: passing 5xx where nobody else would (a `.delay()` in a web process); with 10 s each it still ends well inside half a
#: lease. All of them may be repeated: deletes and visibility changes do the same again, a send can double a message,
#: which at-least-once delivery allows and a FIFO queue's deduplication id prevents.
CALL_ATTEMPTS = 3
#: Connections kept. The pool is only a list of slots until they are used; a thread beyond them opens one for itself, each time.
RECEIVE_POOL = 8192
CALL_POOL = 256
#: Seconds between two rebuilds of the session because credentials were refused.
RENEW_INTERVAL = 5.0
_ABORT_WAIT = 1.0
#: Seen with gunicorn -k gevent --preload, where the app had published before the workers patched ssl; boto3 alone has it, too.
_GEVENT_TOO_LATE = (
    "; has gevent patched ssl after it was in use? Call gevent.monkey.patch_all() before anything else is imported, "
    "or do not preload"
)

_instances: weakref.WeakSet[BotoSqs] = weakref.WeakSet()


def _forget_parents_clients() -> None:
    for sqs in list(_instances):
        sqs._reset()


if hasattr(os, "register_at_fork"):
    # Sockets, pools and locks of the parent's clients must not be used on this side of a fork.
    os.register_at_fork(after_in_child=_forget_parents_clients)


class BotoSqs:
    """SQS through botocore; see ``pyqs.sqs.Sqs`` for what each method promises.

    Raises:
        ConfigError: no region, an unknown profile, a malformed endpoint.
    """

    def __init__(self, connection: ConnectionConfig) -> None:
        self._connection = connection
        self._closed = False
        self._reset()
        with self._lock:
            self._make_session()
        _instances.add(self)

    def _reset(self) -> None:
        """Forget every client, lock and connection; those of a parent process are left as they are."""
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._session: Any = None
        self._calls: Any = None
        self._polls: Any = None
        self._sockets = LiveSockets()
        self._renewed_at = float("-inf")
        self._system_attribute_names: dict[str, list[str]] = {}
        self._checked: set[str] = set()
        # Receives under way, by thread, and how often abort() was called: a receive that sees it change is over.
        self._idle = threading.Condition()
        self._receiving: dict[int, int] = {}
        self._aborts = 0

    @property
    def region(self) -> str:
        """The region of this connection."""
        return self._region

    @property
    def endpoint_url(self) -> str:
        """Where calls go."""
        return str(self._client(poll=False).meta.endpoint_url)

    # -- the five hot calls -------------------------------------------------------------------------------------

    def receive(
        self,
        queue_url: str,
        *,
        max_messages: int = 10,
        wait: int = 20,
        visibility: int | None = None,
        attempt_id: str | None = None,
    ) -> list[ReceivedMessage]:
        self._client(poll=True)  # which knows how system attributes are asked for
        params: dict[str, Any] = {
            "MaxNumberOfMessages": max_messages,
            "WaitTimeSeconds": wait,
            "MessageAttributeNames": ["All"],
            **self._system_attribute_names,
        }
        if visibility is not None:
            params["VisibilityTimeout"] = visibility
        if attempt_id is not None:
            params["ReceiveRequestAttemptId"] = attempt_id
        thread = threading.get_ident()
        with self._idle:
            started = self._receiving[thread] = self._aborts
        try:
            answer = self._hot("ReceiveMessage", queue_url, params, poll=True)
        except Unreachable:
            if self._aborts != started:
                return []
            raise
        finally:
            with self._idle:
                del self._receiving[thread]
                self._idle.notify_all()
        with reading("ReceiveMessage", queue_url):
            return [checked(received(message)) for message in answer.get("Messages") or ()]

    def delete_batch(self, queue_url: str, receipt_handles: Sequence[str]) -> list[SqsError | None]:
        entries = [{"ReceiptHandle": handle} for handle in receipt_handles]
        answers = self._batch("DeleteMessageBatch", queue_url, entries)
        return [answer if isinstance(answer, SqsError) else None for answer in answers]

    def change_visibility_batch(self, queue_url: str, changes: Sequence[tuple[str, int]]) -> list[SqsError | None]:
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": seconds} for handle, seconds in changes]
        answers = self._batch("ChangeMessageVisibilityBatch", queue_url, entries)
        return [answer if isinstance(answer, SqsError) else None for answer in answers]

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        answer = self._hot("SendMessage", queue_url, outgoing(message))
        with reading("SendMessage", queue_url):
            return sent(answer)

    def send_batch(self, queue_url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        answers = self._batch("SendMessageBatch", queue_url, [outgoing(message) for message in messages])
        with reading("SendMessageBatch", queue_url):
            return [answer if isinstance(answer, SqsError) else sent(answer) for answer in answers]

    # -- the control plane --------------------------------------------------------------------------------------

    def queue_url(self, name: str) -> str:
        answer = self._call(self._client(poll=False), "GetQueueUrl", "", {"QueueName": name}, about=name)
        with reading("GetQueueUrl", name):
            return self._own_url(answer["QueueUrl"])

    def locate(self, address: str) -> str:
        if is_arn(address):
            queue = parse_arn(address)
            region = queue.region
            endpoint = self.endpoint_url
            url = queue.url("" if is_aws_host(_host(endpoint)) else endpoint)
        else:
            region = parse_url(address).region
            url = self._own_url(address)
        if region and region != self._region and is_aws_host(_host(self.endpoint_url)):
            raise ConfigError(
                f"queue {address} is in region {region}, this connection is to {self._region}; "
                f"one connection serves one region: give --region {region}"
            )
        return url

    def list_queues(self, prefix: str = "") -> Iterator[str]:
        # Without MaxResults SQS answers at most 1000 and no NextToken (API reference, ListQueues).
        params: dict[str, Any] = {"MaxResults": 1000}
        if prefix:
            params["QueueNamePrefix"] = prefix
        while True:
            answer = self._call(self._client(poll=False), "ListQueues", "", params, about=prefix)
            with reading("ListQueues", prefix):
                urls, token = [self._own_url(url) for url in answer.get("QueueUrls") or ()], answer.get("NextToken")
            yield from urls
            if not token:
                return
            params["NextToken"] = token

    def create_queue(
        self, name: str, attributes: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        params: dict[str, Any] = {"QueueName": name}
        if attributes:
            params["Attributes"] = dict(attributes)
        if tags:
            params["tags"] = dict(tags)
        answer = self._call(self._client(poll=False), "CreateQueue", "", params, about=name)
        with reading("CreateQueue", name):
            return self._own_url(answer["QueueUrl"])

    def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        params = {"AttributeNames": list(names)}
        answer = self._call(self._client(poll=False), "GetQueueAttributes", queue_url, params)
        with reading("GetQueueAttributes", queue_url):
            return dict(answer.get("Attributes") or {})

    def set_queue_attributes(self, queue_url: str, attributes: Mapping[str, str]) -> None:
        self._call(self._client(poll=False), "SetQueueAttributes", queue_url, {"Attributes": dict(attributes)})

    def dead_letter_sources(self, queue_url: str) -> list[str]:
        answer = self._call(self._client(poll=False), "ListDeadLetterSourceQueues", queue_url, {})
        with reading("ListDeadLetterSourceQueues", queue_url):
            return [self._own_url(url) for url in answer.get("queueUrls") or ()]

    def start_move(self, source_arn: str, destination_arn: str | None = None, rate: int | None = None) -> str:
        wanted = {"SourceArn": source_arn, "DestinationArn": destination_arn, "MaxNumberOfMessagesPerSecond": rate}
        params = {name: value for name, value in wanted.items() if value is not None}
        answer = self._call(self._client(poll=False), "StartMessageMoveTask", "", params, about=_name(source_arn))
        with reading("StartMessageMoveTask", source_arn):
            return move_handle(answer)

    def list_moves(self, source_arn: str, limit: int = 10) -> list[MoveTask]:
        params = {"SourceArn": source_arn, "MaxResults": limit}
        answer = self._call(self._client(poll=False), "ListMessageMoveTasks", "", params, about=_name(source_arn))
        with reading("ListMessageMoveTasks", source_arn):
            return [move_task(one) for one in answer.get("Results") or ()]

    def cancel_move(self, handle: str) -> int:
        answer = self._call(self._client(poll=False), "CancelMessageMoveTask", "", {"TaskHandle": handle})
        with reading("CancelMessageMoveTask", ""):
            return int(answer.get("ApproximateNumberOfMessagesMoved", 0))

    def delete_queue(self, queue_url: str) -> None:
        self._call(self._client(poll=False), "DeleteQueue", queue_url, {})

    def purge_queue(self, queue_url: str) -> None:
        self._call(self._client(poll=False), "PurgeQueue", queue_url, {})

    # -- ending -------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Drop the polls that are open now; they answer []. Later calls, receives too, work as before.

        Waits until they have returned, at most a second: a poll that was just being sent has no socket to shut yet.
        """
        with self._idle:
            self._aborts += 1
            deadline = time.monotonic() + _ABORT_WAIT
            while any(started < self._aborts for started in self._receiving.values()):
                self._sockets.shut()
                left = deadline - time.monotonic()
                if left <= 0:
                    log.warning("a long poll could not be dropped; it ends by itself within %.0f s", RECEIVE_TIMEOUT)
                    return
                self._idle.wait(min(left, 0.05))

    def close(self) -> None:
        self._closed = True
        with self._lock:
            clients = [client for client in (self._calls, self._polls) if client is not None]
            self._calls = self._polls = None
        for client in clients:
            client.close()

    # -- clients ------------------------------------------------------------------------------------------------

    def _client(self, *, poll: bool) -> Any:
        if self._closed:
            raise SqsError("this SQS connection is closed", code="Closed", retryable=False)
        if self._pid != os.getpid():  # a fork that did not run Python's hooks
            self._reset()
        client = self._polls if poll else self._calls
        if client is not None:
            return client
        with self._lock:
            if self._session is None:
                self._make_session_again()
            if not poll:
                self._calls = self._calls or self._make_client(CALL_TIMEOUT, attempts=CALL_ATTEMPTS, pool=CALL_POOL)
                return self._calls
            if self._polls is None:
                client = self._make_client(RECEIVE_TIMEOUT, attempts=1, pool=RECEIVE_POOL)
                self._sockets.watch(client)
                self._system_attribute_names = _system_attribute_names(client)
                self._polls = client  # last: other threads read it without the lock
            return self._polls

    def _make_session(self) -> None:
        self._session = build_session(self._connection)
        self._region = find_region(self._connection, self._session)

    def _make_session_again(self) -> None:
        try:
            self._make_session()
        except ConfigError as exc:
            if self._renewed_at == float("-inf"):
                raise
            # It was right once: a file is just being written, and whoever consumes must not end over that.
            text = f"the credentials could not be read again: {exc}"
            raise CredentialsError(text, code="NotRenewed", retryable=True) from None
        except Exception as exc:
            raise error_from_exception(exc) or exc from None

    def _make_client(self, read_timeout: float, *, attempts: int, pool: int) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=pool,
            tcp_keepalive=True,
            user_agent_extra="pyqs",
        )
        try:
            return self._session.create_client(
                "sqs", region_name=self._region, endpoint_url=self._connection.endpoint_url, config=config
            )
        except Exception as exc:
            # botocore raises a bare ValueError for an endpoint that is no URL.
            hint = _GEVENT_TOO_LATE if isinstance(exc, RecursionError) else ""
            raise error_from_exception(exc) or ConfigError(f"SQS client: {exc}{hint}") from None

    def _renew(self, failed: Any) -> None:
        """After refused credentials: read the whole chain again, at most every few seconds."""
        with self._lock:
            now = time.monotonic()
            if failed not in (self._calls, self._polls) or now - self._renewed_at < RENEW_INTERVAL:
                return
            self._renewed_at = now
            # Other threads may be in the middle of a call on these clients: they are dropped, not closed.
            self._session = self._calls = self._polls = None

    # -- calls --------------------------------------------------------------------------------------------------

    def _hot(self, action: str, queue_url: str, params: Mapping[str, Any], *, poll: bool = False) -> dict[str, Any]:
        """One of the five calls of which there are many; the lean client has its own way."""
        return self._call(self._client(poll=poll), action, queue_url, params)

    def _call(self, client: Any, action: str, queue_url: str, params: Mapping[str, Any], about: str = "") -> dict[str, Any]:
        if queue_url:
            self._check_region(queue_url)
            params = {"QueueUrl": queue_url, **params}
        call, where = getattr(client, _METHODS[action]), queue_url or about
        try:
            answer: dict[str, Any] = call(**params)
        except Exception as exc:
            error = error_from_exception(exc, queue=where, action=action) or error_from_answer(exc, queue=where, action=action)
            if error is None:
                raise
            if isinstance(error, CredentialsError):
                self._renew(client)
            # Not "from exc": botocore's own text can hold a body, a handle or a token.
            raise error from None
        # botocore takes a page of HTML (a proxy's, a captive portal's) for an answer with nothing in it.
        kind = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "")
        if "html" in kind or not REQUIRED.get(action, frozenset()) <= answer.keys():
            raise not_sqs(queue=where, action=action)
        return answer

    def _batch(self, action: str, queue_url: str, entries: list[dict[str, Any]]) -> list[Any]:
        """One answer per entry in order: SQS's, or the error for that entry."""
        if not entries:
            return []
        params = {"Entries": [{"Id": str(number), **entry} for number, entry in enumerate(entries)]}
        answer = self._hot(action, queue_url, params)
        by_id = by_entry(answer, action, queue_url)
        found = [by_id.get(entry["Id"]) for entry in params["Entries"]]
        if None in found:
            lost = Unreachable(f"{action}: SQS's answer does not mention this entry", code="NoAnswer", queue=queue_url)
            found = [lost if one is None else one for one in found]
        return found

    def _check_region(self, queue_url: str) -> None:
        if queue_url in self._checked:
            return
        region = region_of_host(_host(queue_url))
        if region and region != self._region:
            raise SqsError(
                f"{queue_url} is in region {region}, this connection is to {self._region}; give --region {region}",
                code="WrongRegion",
                queue=queue_url,
                retryable=False,
            )
        self._checked.add(queue_url)

    def _own_url(self, url: str) -> str:
        """An emulator's queue URL with the host under which it is reached from here."""
        endpoint = self.endpoint_url
        return url if is_aws_host(_host(endpoint)) else rebase_url(url, endpoint)


_METHODS = {
    "ReceiveMessage": "receive_message",
    "DeleteMessageBatch": "delete_message_batch",
    "ChangeMessageVisibilityBatch": "change_message_visibility_batch",
    "SendMessage": "send_message",
    "SendMessageBatch": "send_message_batch",
    "GetQueueUrl": "get_queue_url",
    "ListQueues": "list_queues",
    "CreateQueue": "create_queue",
    "GetQueueAttributes": "get_queue_attributes",
    "SetQueueAttributes": "set_queue_attributes",
    "ListDeadLetterSourceQueues": "list_dead_letter_source_queues",
    "StartMessageMoveTask": "start_message_move_task",
    "ListMessageMoveTasks": "list_message_move_tasks",
    "CancelMessageMoveTask": "cancel_message_move_task",
    "DeleteQueue": "delete_queue",
    "PurgeQueue": "purge_queue",
}


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _system_attribute_names(client: Any) -> dict[str, list[str]]:
    """How this botocore asks for system attributes: MessageSystemAttributeNames came in 2024, AttributeNames before."""
    members = client.meta.service_model.operation_model("ReceiveMessage").input_shape.members
    new = "MessageSystemAttributeNames"
    return {new if new in members else "AttributeNames": ["All"]}
