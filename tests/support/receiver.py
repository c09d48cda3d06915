"""A webhook receiver for tests: a small real server on loopback that answers as told and keeps what it got."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import trio
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a key of twenty-four byte").decode()
START = 10.0  # seconds
FLOOD = b"x" * 65536


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def seq(self) -> int:
        return int(self.payload["seq"])

    @property
    def state(self) -> str:
        return str(self.payload["state"])


class Receiver:
    """Answers 204 or as `answer` says: a status, `status after=SECONDS`, `hang`, `redirect`, `flood STATUS`."""

    def __init__(self, answer: str = "204", port: int = 0) -> None:
        self.answer = answer
        self.port = port
        self.got: list[Got] = []
        self.flooded = 0  # bytes sent in one answer at most
        self.broken_off = 0  # answers that the sender did not wait for
        self._listening = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="receiver")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def of(self, job_id: str) -> list[Got]:
        """What came of one job, in the order it came."""
        return [got for got in list(self.got) if got.payload["job_id"] == job_id]

    def states(self, job_id: str) -> list[str]:
        return [got.state for got in self.of(job_id)]

    def __enter__(self) -> Receiver:
        self._thread.start()
        assert self._listening.wait(START)
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(START)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1", backlog=1024)
            self.port = listeners[0].socket.getsockname()[1]
            self._listening.set()
            await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (data := await stream.receive_some(65536)):
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = int(headers.get("content-length", 0))
                while len(buffer) < length:
                    buffer += await stream.receive_some(65536)
                body, buffer = buffer[:length], buffer[length:]
                self.got.append(Got(first.split(" ")[1], headers, body))
                await self._reply(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.broken_off += 1

    async def _reply(self, stream: trio.SocketStream) -> None:
        kind, _, more = self.answer.partition(" ")
        if kind == "hang":
            await stream.receive_some(1)  # nothing comes but the end
            raise trio.BrokenResourceError
        if kind == "flood":
            await stream.send_all(b"HTTP/1.1 %s So\r\nContent-Length: 99999999999\r\n\r\n" % more.encode())
            sent = 0
            while True:
                await stream.send_all(FLOOD)
                sent += len(FLOOD)
                self.flooded = max(self.flooded, sent)
        extra = f"Retry-After: {more.removeprefix('after=')}\r\n" if more else ""
        if kind == "redirect":
            kind, extra = "307", f"Location: http://127.0.0.1:{self.port}/elsewhere\r\n"
        length = "" if kind == "204" else "Content-Length: 0\r\n"
        await stream.send_all(f"HTTP/1.1 {kind} So\r\n{extra}{length}\r\n".encode())


@contextmanager
def a_receiver(answer: str = "204", port: int = 0) -> Iterator[Receiver]:
    with Receiver(answer, port) as receiver:
        yield receiver


def verified(got: Got, *secrets: str) -> Any:
    """The payload, after the independent library and a plain HMAC have both vouched for it with every secret."""
    for secret in secrets or (SECRET,):
        Webhook(secret).verify(got.body, got.headers)
    key = base64.b64decode((secrets or (SECRET,))[0].removeprefix("whsec_"))
    assert got.headers["x-foreman-signature"] == "sha256=" + hmac.new(key, got.body, sha256).hexdigest()
    return got.payload
