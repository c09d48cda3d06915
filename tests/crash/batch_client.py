"""Clients of batches, which upload files, make batches of them, and take up what a kill has broken off."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.bench.wire import connected, get, post

ENDPOINT = "/v1/chat/completions"
LINES = 30
BAD, UNKNOWN = 6, 10  # every so manieth line is refused by the target, or has a model that nobody has
LARGE = 2**20 + 1000  # characters of an answer that is stored as a blob
ENDED = ("completed", "failed", "cancelled", "expired")
LOOK = 0.02  # seconds between looks at a batch
MARK = "foreman-crash-campaign"  # between the parts of an upload
FAULTS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


@dataclass(slots=True)
class Asked:
    """A batch as its client knows it."""

    number: int
    fate: str
    lines: dict[str, str]  # custom id to the model, in order
    data: bytes
    uploads: int = 0  # tries
    file_id: str | None = None  # acknowledged, and not deleted
    deleting: bool = False  # its deletion was asked for
    creates: int = 0  # tries
    batch_id: str | None = None  # acknowledged
    may_expire: bool = False  # its window may be short
    cancels: int = 0  # tries
    cancelled: bool = False  # acknowledged
    over: bool = False

    @property
    def good(self) -> list[str]:
        """The lines that are answered, in order."""
        return [name for name, words in self.lines.items() if words == "good"]


@dataclass(slots=True)
class Told:
    """What clients know."""

    asked: list[Asked] = field(default_factory=list)
    unanswered: int = 0  # uploads and batches


def draft(number: int, fate: str, chance: random.Random) -> Asked:
    """Return a batch to ask for."""
    lines, data = dict[str, str](), list[bytes]()
    for place in range(2 if fate == "has large answers" else LINES):
        custom_id = f"{number}-{place}"
        words, model = f"{custom_id} says hello #echo", chance.choice("ab")
        if fate == "has large answers":
            words += f" {'x' * LARGE}"
        elif place % BAD == 2:
            words = f"{custom_id} #status=400"
        elif fate in ("is cancelled", "expires"):
            words += " #slow=0.03"
        if place % UNKNOWN == 7:
            model = "nothing"
        lines[custom_id] = "unknown" if model == "nothing" else "bad" if "#status" in words else "good"
        body = {"model": model, "messages": [{"role": "user", "content": words}]}
        line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
        data.append(json.dumps(line).encode() + b"\n")
    if fate == "is invalid":
        data.insert(chance.randrange(len(data)), b"this is no JSON\n")
    return Asked(number, fate, lines, b"".join(data))


class Client:
    """One client, for one life of Foreman."""

    def __init__(self, port: int, told: Told, *, short: bool) -> None:
        """With `short`, batches made in this life may expire."""
        self._port = port
        self._told = told
        self._short = short

    async def follow(self, asked: Asked) -> None:
        """Bring a batch as far as this life goes."""
        with suppress(*FAULTS):
            await self.finish(asked)

    async def finish(self, asked: Asked) -> None:
        """Bring a batch to its end. Raise one of FAULTS when Foreman does not answer."""
        if asked.file_id is None and asked.batch_id is None and not asked.deleting:
            asked.uploads += 1
            file = await self._ask(upload(f"{asked.number}.jsonl", asked.data))
            if file["bytes"] != len(asked.data):
                raise AssertionError(f"{len(asked.data)} bytes were uploaded, {file} is stored")
            asked.file_id = file["id"]
        if asked.batch_id is None:
            asked.may_expire |= self._short
            again = {"X-Stainless-Retry-Count": str(asked.creates)}
            asked.creates += 1
            given = {"input_file_id": asked.file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
            made = await self._ask(post("/v1/batches", given | {"metadata": {"number": str(asked.number)}}, again))
            asked.batch_id = made["id"]
        if asked.fate == "loses its input" and asked.file_id:
            asked.deleting = True
            await self._ask(f"DELETE /v1/files/{asked.file_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), gone=True)
            asked.file_id = None
        if asked.fate == "is cancelled" and not asked.cancelled:
            await self._cancel(asked)
        while (await self._show(asked))["status"] not in ENDED:  # noqa: ASYNC110 - it happens in another process
            await trio.sleep(LOOK)
        asked.over = True

    async def _cancel(self, asked: Asked) -> None:
        while True:
            shown = await self._show(asked)
            counts = shown["request_counts"] or {}
            if shown["status"] in ENDED or counts["completed"] + counts["failed"] > 3:
                break
            await trio.sleep(LOOK)
        asked.cancels += 1
        answer = await self._ask(post(f"/v1/batches/{asked.batch_id}/cancel", {}), conflict=True)
        asked.cancelled = answer.get("status") == "cancelling"

    async def _show(self, asked: Asked) -> dict[str, Any]:
        return await self._ask(get(f"/v1/batches/{asked.batch_id}"))

    async def _ask(self, request: bytes, *, gone: bool = False, conflict: bool = False) -> dict[str, Any]:
        answered = False
        try:
            async with connected(self._port) as connection:
                with trio.fail_after(30):
                    status, body = await connection.exchange(request)
            answered = True
        finally:
            self._told.unanswered += not answered
        allowed = {200} | ({404} if gone else set()) | ({409} if conflict else set())
        if status not in allowed:
            raise AssertionError(f"{request[:60]!r} was answered {status}: {body!r}")
        found: dict[str, Any] = json.loads(body)
        return found


def upload(name: str, data: bytes) -> bytes:
    """Return the request that uploads a file."""
    parts: Mapping[str, bytes] = {'"purpose"': b"batch", f'"file"; filename="{name}"': data}
    body = b"".join(
        f"--{MARK}\r\nContent-Disposition: form-data; name={field}\r\n\r\n".encode() + value + b"\r\n"
        for field, value in parts.items()
    )
    body += f"--{MARK}--\r\n".encode()
    head = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={MARK}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def digest(data: bytes) -> str:
    """Return the digest under which bytes are stored."""
    return hashlib.sha256(data).hexdigest()
