"""After an answer was left early, the next request waits until a slot is seen to be free, and not for long."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio

from foreman.domain.errors import TargetUnavailable
from foreman.targets import vacancy
from foreman.targets.openai import OpenAITarget
from tests.targets.conftest import call, chunks_of

BUSY, FREE = {"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}
HANG = b""


def answer(body: object, status: int = 200) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


ANSWERED = answer({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})


@dataclass
class Server:
    """Answers each look at its slots with the next of `looks`, the last one for good; a call unless it hangs."""

    looks: list[bytes]
    asked: list[str] = field(default_factory=list)
    hangs: bool = True
    called: trio.Event = field(default_factory=trio.Event)

    async def serve(self, stream: trio.SocketStream) -> None:
        said = b""
        while data := await stream.receive_some(65_536):
            said += data
            head, found, rest = said.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0) if found else 0
            if not found or len(rest) < length:
                continue
            path = head.split()[1].decode()
            said = b""
            self.asked.append(path)
            if path == "/slots":
                look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
                if look == HANG:
                    await trio.sleep_forever()
                await stream.send_all(look)
            elif self.hangs:
                self.called.set()
                await trio.sleep_forever()
            else:
                await stream.send_all(ANSWERED)


@asynccontextmanager
async def a_server(*looks: bytes) -> AsyncIterator[tuple[Server, OpenAITarget]]:
    server = Server(list(looks))
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        target = OpenAITarget(f"http://127.0.0.1:{port}")
        yield server, target
        target.close()
        nursery.cancel_scope.cancel()


async def leave_early(server: Server, target: OpenAITarget) -> None:
    """Cancel a call that the server has got."""
    server.called, server.hangs = trio.Event(), True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chunks_of, target, call(endpoint="/v1/chat/completions"))
        await server.called.wait()
        nursery.cancel_scope.cancel()
    server.hangs = False


async def ask(target: OpenAITarget) -> None:
    with trio.fail_after(60):
        assert await chunks_of(target, call(endpoint="/v1/chat/completions"))


async def test_the_next_request_waits_until_a_slot_is_free() -> None:
    async with a_server(answer([BUSY]), answer([BUSY]), answer([BUSY, FREE])) as (server, target):
        await leave_early(server, target)
        await ask(target)
        assert server.asked[1:] == ["/slots", "/slots", "/slots", "/v1/chat/completions"]
        await ask(target)
        assert server.asked[5:] == ["/v1/chat/completions"]


async def test_without_an_early_end_nothing_is_asked() -> None:
    async with a_server(answer([BUSY])) as (server, target):
        server.hangs = False
        await ask(target)
        await ask(target)
        assert server.asked == ["/v1/chat/completions"] * 2


@pytest.mark.parametrize(
    "look",
    [
        answer([BUSY]),
        HANG,
        answer({"error": "busy"}, 500),
        answer({"error": "no slots"}, 503),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{",
    ],
)
async def test_the_wait_ends_whatever_the_server_does(monkeypatch: pytest.MonkeyPatch, look: bytes) -> None:
    monkeypatch.setattr(vacancy, "WITHIN", 0.2)
    async with a_server(look) as (server, target):
        for _ in range(2):
            await leave_early(server, target)
            await ask(target)
        assert server.asked.count("/v1/chat/completions") == 4
        assert server.asked.count("/slots") >= 2


@pytest.mark.parametrize(
    "look",
    [
        answer({"error": "not found"}, 404),
        answer({"error": {"message": "This server does not support slots endpoint."}}, 501),
        answer({"detail": "unauthorized"}, 401),
        answer([]),
        answer({"slots": 3}),
        answer([{"id": 0, "state": 1}]),
        answer(b"[" * 100_000),
        answer(b"\xff"),
    ],
)
async def test_a_server_without_a_list_of_slots_is_asked_for_it_once(look: bytes) -> None:
    async with a_server(look) as (server, target):
        for _ in range(2):
            await leave_early(server, target)
            await ask(target)
        assert server.asked.count("/slots") == 1


async def test_a_server_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_server(answer([BUSY])) as (server, target):
        await leave_early(server, target)
        monkeypatch.setattr(target._client, "_port", 1)  # nothing listens there
        with trio.fail_after(60), pytest.raises(TargetUnavailable):
            await ask(target)
