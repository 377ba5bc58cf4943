"""``dynamodb://KEY:SECRET@region/table?read=1&write=1&ttl_seconds=86400``: results in a DynamoDB table of Celery's layout.

Owns: ``DynamoDBBackend``. Lives in the process that calls a task and in the one that runs it. Makes the table and turns its
expiry on where they are not there; never turns expiry off, and never deletes a table.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pyqs_celery_compat.chord_parts import CLAIM
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_backend import ResultTooLarge
from pyqs_celery_compat.result_values import as_bytes

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.backends.dynamodb")

#: DynamoDB takes no larger item; names and the other attributes count, too.
MOST_BYTES = 400 * 1024
_BESIDE_THE_RESULT = 300


class DynamoDBBackend(KeyValueStoreBackend):
    """Keeps results in a table.

    Parameters:
        url: its host is the region, or ``localhost`` or an IP address with a port for an emulator.
        table_name: if the URL has none.

    Raises:
        ImproperlyConfigured: half of the credentials are given, or an option is no number.
    """

    thread_safe = True
    implements_incr = True
    supports_result_compression = True
    supports_autoexpire = True
    table_name = "celery"
    read_capacity_units = 1
    write_capacity_units = 1
    time_to_live_seconds: int | None = None
    aws_region: str | None = None
    endpoint_url: str | None = None

    def __init__(self, url: str | None = None, table_name: str | None = None, *, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, url=url, **kwargs)
        parts = urlsplit(url or "")
        self._credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
        if bool(self._credentials[0]) != bool(self._credentials[1]):
            raise ImproperlyConfigured(
                f"{self.as_uri()}: an access key id and a secret access key belong together; without both, boto3 finds its own"
            )
        self.table_name = unquote(parts.path).strip("/") or table_name or self.table_name
        query = dict(parse_qsl(parts.query))
        try:
            self.read_capacity_units = int(query.get("read", self.read_capacity_units))
            self.write_capacity_units = int(query.get("write", self.write_capacity_units))
            ttl = query.get("ttl_seconds", self.time_to_live_seconds)
            self.time_to_live_seconds = None if ttl is None else int(ttl)
        except ValueError as exc:
            raise ImproperlyConfigured(f"{self.as_uri()}: read, write and ttl_seconds must be numbers: {exc}") from None
        host = parts.hostname or ""
        if host == "localhost" or _is_address(host):
            self.aws_region, self.endpoint_url = "us-east-1", f"http://{host}:{parts.port or 8000}"
        else:
            self.aws_region = host or None
        self.endpoint_url = app.conf.get("dynamodb_endpoint_url") or self.endpoint_url
        self._made: Any = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        """boto3's, whose table is there."""
        with self._lock:
            if self._made is None:
                import boto3

                key, secret = self._credentials
                given = {"aws_access_key_id": key, "aws_secret_access_key": secret} if key else {}
                made = boto3.client("dynamodb", region_name=self.aws_region, endpoint_url=self.endpoint_url, **given)
                self._have_table(made)
                self._made = made
            return self._made

    # -- what a store does --------------------------------------------------------------------------------------------
    def get(self, key: str) -> bytes | None:
        item = self.client.get_item(TableName=self.table_name, Key=_key(key)).get("Item") or {}
        found: bytes | None = item.get("result", {}).get("B")
        return found

    def set(self, key: str, value: bytes | str) -> None:
        value = as_bytes(value)
        if len(value) + len(key) + _BESIDE_THE_RESULT > MOST_BYTES:
            raise ResultTooLarge(
                f"a result of {len(value):,} bytes: DynamoDB takes an item of {MOST_BYTES:,} with all its names"
            )
        self.client.put_item(TableName=self.table_name, Item={**_key(key), "result": {"B": value}, **self._times()})

    def _times(self) -> dict[str, Any]:
        now = time.time()
        times = {"timestamp": {"N": str(now)}}
        if self.time_to_live_seconds and self.time_to_live_seconds > 0:
            times["ttl"] = {"N": str(int(now + self.time_to_live_seconds))}
        return times

    def delete(self, key: str) -> None:
        self.client.delete_item(TableName=self.table_name, Key=_key(key))

    # -- chords: one item counts, remembers who was counted, and is gone when the chord is over -------------------------
    def apply_chord(self, header_result_args: tuple[Any, ...], body: Any, **kwargs: Any) -> None:
        item = {**_key(self.get_key_for_chord(header_result_args[0])), "chord_count": {"N": "0"}, **self._times()}
        self.client.put_item(TableName=self.table_name, Item=item)
        super().apply_chord(header_result_args, body, **kwargs)

    def incr(self, key: str) -> int:
        """Celery's counter."""
        answer = self.client.update_item(
            TableName=self.table_name, Key=_key(key), UpdateExpression="SET chord_count = chord_count + :one",
            ExpressionAttributeValues={":one": {"N": "1"}}, ReturnValues="UPDATED_NEW",
        )  # fmt: skip
        return int(answer["Attributes"]["chord_count"]["N"])

    def count_chord_part(self, request: Context) -> int | None:
        key = _key(self.get_key_for_chord(str(request.group)))
        part = str(request.id)  # not its place: a group at the end of a chain in the header has places of its own
        try:
            answer = self.client.update_item(
                TableName=self.table_name, Key=key, UpdateExpression="SET chord_count = chord_count + :one ADD counted :parts",
                ConditionExpression="attribute_exists(id) AND NOT contains(counted, :part)", ReturnValues="UPDATED_NEW",
                ExpressionAttributeValues={":one": {"N": "1"}, ":parts": {"SS": [part]}, ":part": {"S": part}},
            )  # fmt: skip
            return int(answer["Attributes"]["chord_count"]["N"])
        except self.client.exceptions.ConditionalCheckFailedException:
            found = self.client.get_item(TableName=self.table_name, Key=key, ConsistentRead=True).get("Item")
            return None if found is None else int(found["chord_count"]["N"])

    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        now = time.time()
        try:
            self.client.update_item(
                TableName=self.table_name, Key=_key(self.get_key_for_chord(group_id)),
                UpdateExpression="SET claimed_until = :until",
                ConditionExpression="attribute_exists(id) AND (attribute_not_exists(claimed_until) OR claimed_until < :now)",
                ExpressionAttributeValues={":until": {"N": str(now + seconds)}, ":now": {"N": str(now)}},
            )  # fmt: skip
            return True
        except self.client.exceptions.ConditionalCheckFailedException:
            key = _key(self.get_key_for_chord(group_id))
            found = self.client.get_item(TableName=self.table_name, Key=key, ConsistentRead=True).get("Item")
            return None if found is None else False

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        self.delete(self.get_key_for_chord(group_id))
        deps.delete(backend=self)

    # -- the table ------------------------------------------------------------------------------------------------------
    def _have_table(self, client: Any) -> None:
        try:
            client.describe_table(TableName=self.table_name)
        except client.exceptions.ResourceNotFoundException:
            self._create_table(client)
        if self.time_to_live_seconds and self.time_to_live_seconds > 0:
            self._have_expiry(client)

    def _create_table(self, client: Any) -> None:
        logger.info("DynamoDB table %s is not there and is made", self.table_name)
        try:
            client.create_table(
                TableName=self.table_name,
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                ProvisionedThroughput={
                    "ReadCapacityUnits": self.read_capacity_units, "WriteCapacityUnits": self.write_capacity_units,
                },
            )  # fmt: skip
        except client.exceptions.ResourceInUseException:
            pass  # another process was faster
        client.get_waiter("table_exists").wait(TableName=self.table_name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def _have_expiry(self, client: Any) -> None:
        told = client.describe_time_to_live(TableName=self.table_name)["TimeToLiveDescription"]
        if told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            if told.get("AttributeName") != "ttl":
                logger.warning(
                    "DynamoDB table %s expires items by %r, not by 'ttl': results will stay",
                    self.table_name,
                    told["AttributeName"],
                )
            return
        client.update_time_to_live(TableName=self.table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})

    def as_uri(self, include_password: bool = False) -> str:
        """The URL; credentials only where they are asked for."""
        url = self.url or ""
        netloc = urlsplit(url).netloc
        if include_password or "@" not in netloc:
            return url
        return url.replace(netloc, f"**@{netloc.rpartition('@')[2]}", 1)


def _key(key: str) -> dict[str, Any]:
    """Celery 5.7 has bytes for a key and writes them as Python shows them, b and quotes included (observed)."""
    return {"id": {"S": str(key.encode())}}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


belongs_to("celery.backends.dynamodb", DynamoDBBackend)
