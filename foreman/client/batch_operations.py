"""Operations on batches, without I/O but for the reading of what is sent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from foreman.client import batch_requests
from foreman.client.batch_input import BatchInput, Given, opened
from foreman.client.errors import (
    ArgumentInvalid,
    Busy,
    ClientError,
    ConnectFailed,
    LinesRefused,
    NotEnded,
    Refused,
)
from foreman.client.line_operations import lines
from foreman.client.operations import LATE, Clock, Emit, Emitting, Held, Operation, Pause, ask
from foreman.client.reading import decode
from foreman.client.reconnect import Reconnect
from foreman.client.requests import error_of
from foreman.domain.batches import ENDED
from foreman.domain.views import Batched, Submitted

T = TypeVar("T")

PAUSES = (0.1, 2.0)  # seconds between two looks at a batch: the first and the longest; they grow while nothing changes


def submit(
    url: str,
    file: Given,
    *,
    endpoint: str | None,
    metadata: Mapping[str, str] | None,
    name: str | None,
    state_webhook_url: str | None,
    idempotency_key: str | None,
    sent: Callable[[int], None] | None,
) -> Operation[Batched]:
    """Send the input of a batch and make the batch; when that is refused, nothing stays stored.

    Raise LinesRefused when lines are wrong.
    """
    with opened(file, sent) as given:
        native = {"name": name, "state_webhook_url": state_webhook_url, "idempotency_key": idempotency_key}
        _check_place(given, {"endpoint": endpoint, "metadata": metadata} if given.is_native else native)
        if given.is_native:
            request = batch_requests.submit_native(given, name or given.name, state_webhook_url, idempotency_key)
            return _submitted(url, (yield from ask(request)))
        uploaded = yield from ask(batch_requests.upload(given))
        try:
            made = yield from ask(batch_requests.create(uploaded.id, endpoint or given.endpoint, metadata))
        except Refused:
            with suppress(ClientError):
                yield from ask(batch_requests.delete_file(uploaded.id))
            raise
    return (yield from ask(batch_requests.batch(made.id)))


def _check_place(given: BatchInput, others: Mapping[str, object]) -> None:
    """Raise ArgumentInvalid for an argument that is for batches of the other kind."""
    for name, value in others.items():
        if value is not None:
            kind = "bodies of POST /jobs" if given.is_native else "requests of OpenAI's Batch API"
            raise ArgumentInvalid(f"{name} does not go with {given.name}", f"its lines are {kind}")


def _submitted(url: str, answer: bytes) -> Batched:
    """Return the batch. Raise LinesRefused when lines were rejected, or another ClientError."""
    with suppress(msgspec.DecodeError):
        return decode(answer, Batched)
    with suppress(msgspec.DecodeError):
        refused = decode(answer, Submitted)
        raise LinesRefused(refused.rejected, refused.errors)
    raise error_of(url, 422, {}, answer)


def watch(batch_id: str, within: float | None, retry_for: float, clock: Clock = time.monotonic) -> Emitting[Batched]:
    """Emit the batch as it is, and again whenever it has changed, until it has ended.

    Raise NotEnded after `within` seconds.
    """
    reconnect, interval = Reconnect(retry_for), PAUSES[0]
    seen: Batched | None = None
    until = math.inf if within is None else clock() + within
    while True:
        try:
            found = yield from ask(replace(batch_requests.batch(batch_id), within=until + LATE - clock()))
        except (ConnectFailed, Busy):
            again = reconnect.broke(clock())
            if again is None or clock() >= until:
                raise
            wanted = again
        else:
            reconnect.connected(clock())
            if found != seen:
                seen, interval = found, PAUSES[0]
                yield Emit(found)
            if found.state in ENDED:
                return
            wanted, interval = interval, min(PAUSES[1], interval * 1.5)
        if clock() >= until:
            raise NotEnded(batch_id, within or 0.0)
        yield Pause(min(wanted, max(0.0, until - clock())))


def wait(batch_id: str, within: float | None, retry_for: float, clock: Clock = time.monotonic) -> Operation[Batched]:
    """Return the batch once it has ended. Raise NotEnded after `within` seconds."""
    held = Held(watch(batch_id, within, retry_for, clock))
    found: Batched
    while (step := held.step) is not None:
        if isinstance(step, Emit):
            found = step.value
            held.send(None)
            continue
        try:
            reply = yield step
        except ClientError as error:
            held.throw(error)
        else:
            held.send(reply)
    return found


def results(url: str, batch_id: str, read: Callable[[bytes], T]) -> Emitting[T]:
    """Emit each line of the results of a batch as `read` returns it."""
    return lines(url, batch_requests.results(batch_id), read, "results")


def as_object(line: bytes) -> dict[str, Any]:
    """Return a line of the results as an object."""
    return decode(line, dict[str, Any])
