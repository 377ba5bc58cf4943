"""Filling and counting a queue, next to the server and without an AWS SDK, so that it costs the measured side little.

Owns: ``Near``: one keep-alive connection that posts SQS's JSON protocol, unsigned (neither server checks signatures). Runs in
the benchmark's process, one for a thread. Never used by what is measured.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

_FILLERS = 3
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


class Near:
    """One connection to a server.

    Parameters:
        endpoint: of the server itself, or of a proxy before it.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=60)

    def call(self, action: str, **members: Any) -> dict[str, Any]:
        """One call. Raises RuntimeError for an error answer."""
        headers = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"}
        # fauxqs reads the region from here
        headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request"
        body = json.dumps(members)
        try:
            answer = self._post(body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()  # the server has closed what was idle (fauxqs after 5 s); a connection is made anew
            answer = self._post(body, headers)
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{action}: {answer.status} {text[:300]!r}")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def _post(self, body: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("POST", "/", body, headers)
        return self._connection.getresponse()

    def create(self, queue: str, **attributes: str) -> str:
        """The new queue's URL, which has the host that this connection uses."""
        return str(self.call("CreateQueue", QueueName=queue, Attributes=attributes)["QueueUrl"])

    def delete(self, url: str) -> None:
        """Delete the queue and what it holds."""
        self.call("DeleteQueue", QueueUrl=url)

    def send_batch(self, url: str, bodies: Sequence[str]) -> None:
        """Up to ten."""
        entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
        answer = self.call("SendMessageBatch", QueueUrl=url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(f"not sent: {answer['Failed'][:1]}")

    def left(self, url: str) -> int:
        """How many messages the queue holds, hidden and delayed ones counted."""
        found = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return sum(int(found[name]) for name in _COUNTS)


def fill(endpoint: str, url: str, bodies: Sequence[str], count: int) -> None:
    """Send that many messages, the bodies again and again, from a few threads. Raises what a thread raised."""
    starts = iter(range(0, count, 10))
    lock, failed = threading.Lock(), list[BaseException]()

    def work() -> None:
        near = Near(endpoint)
        try:
            while not failed:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                near.send_batch(url, [bodies[n % len(bodies)] for n in range(start, min(start + 10, count))])
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_FILLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
