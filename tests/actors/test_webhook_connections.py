"""Connections to receivers: kept for the next delivery and not for longer; the head of an answer is the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import webhook_sender
from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.webhook_sender import Content, WebhookSender
from foreman.domain.job import Delivery, DeliveryState
from foreman.domain.webhooks.addresses import AddressRules
from foreman.domain.webhooks.admission import Limits
from foreman.queue.commands import SubmitMany
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import InlineReaders, draft, now
from tests.support.queue import QueueHarness

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """Answers every webhook and keeps its connections until the other side closes them."""

    def __init__(self) -> None:
        self.opened = self.answered = 0
        self.closed = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.opened += 1
        while True:
            request = b""
            while not request.endswith(b"}"):
                piece = await stream.receive_some()
                if not piece:
                    self.closed.set()
                    return
                request += piece
            self.answered += 1
            await stream.send_all(NO_CONTENT)


async def test_a_kept_connection_serves_the_next_delivery_and_is_closed_when_there_is_none(
    data_dir: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, receiver.serve, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
    monkeypatch.setattr(webhook_sender, "KEPT_FOR", 0.2)
    sender = WebhookSender(AddressRules.read(["127.0.0.1"], loopback=True), secrets=[], timeout=5, clock=now)
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    ended = trio.Event()

    class Queue:
        async def ask(self, message: Any) -> Any:
            answer = harness.say(message)
            if receiver.answered == 2:
                ended.set()
            return answer

        tell = ask

    readers = InlineReaders(harness.store, count=1)
    webhooks = WebhookDispatcher(Queue(), readers, sender, limits=Limits(1, 1), inline=100, clock=now)
    harness.say(SubmitMany(drafts=[draft(n, webhook_url=url) for n in range(2)]))
    await nursery.start(webhooks.run)
    with trio.fail_after(30):
        await ended.wait()
        await receiver.closed.wait()
    assert (receiver.opened, receiver.answered) == (1, 2)
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
    harness.store.close()


async def test_an_answer_whose_body_never_ends_is_what_its_head_says(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def begin(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await trio.sleep_forever()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, begin, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"

    async def resolve(host: str, port: int, *, type: int) -> Any:
        return [(None, None, None, "", (host, port))]

    timeout = webhook_sender.READ_TIMEOUT / 2
    sender = WebhookSender(AddressRules(loopback=True), secrets=[], timeout=timeout, clock=now, resolve=resolve)
    due = Delivery(seq=1, job_id="j", receiver="r", url=url, state=DeliveryState.DUE, attempts=0, due_at=0)
    sent = await sender.post(due, Content(b"{}"))
    assert (sent.status, sent.error) == (200, None)
    assert trio.current_time() == timeout
    nursery.cancel_scope.cancel()
