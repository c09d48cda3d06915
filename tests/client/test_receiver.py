"""A receiver that others wait at: a real Foreman posts to it, and so do some who are none."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx2
import msgspec
import pytest

from foreman import Receiver
from foreman import receiver as receiver_module
from foreman.client import NotEnded, State, Webhook
from foreman.domain.webhooks.signature import sign
from tests.cli.conftest import SECRET, App, an_app

CHANGE: dict[str, Any] = {
    "job_id": "J1",
    "state": "done",
    "previous_state": "working",
    "timestamp": "2026-01-02T03:04:05Z",
    "model": "m",
    "attempt": 1,
    "seq": 7,
    "result": {"message": {"content": "hello"}},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("app"), webhook_retries="3", webhook_backoff="100 ms") as app:
        yield app


def post(receiver: Receiver, event: dict[str, Any] | bytes, number: str, secret: str = SECRET) -> int:
    body = event if isinstance(event, bytes) else msgspec.json.encode(event)
    headers = sign(body, webhook_id=number, secrets=[secret], now=datetime.now().astimezone().timestamp())
    return httpx2.post(receiver.url, content=body, headers=headers, trust_env=False).status_code


def test_the_end_of_a_job_is_waited_for_where_foreman_tells_it(app: App) -> None:
    told: list[Webhook] = []
    with Receiver(SECRET, on=told.append) as receiver, app.client() as client:
        job_id = client.submit("a", "#echo hi", state_webhook_url=receiver.url).job_id
        done = receiver.wait(job_id)
        assert (done.state, done.text) == (State.DONE, client.wait(job_id).text)
        with pytest.raises(NotEnded):
            receiver.wait(job_id, within=0.01)  # it was given already
        many = [client.submit("a", f"{n}", state_webhook_url=receiver.url).job_id for n in range(20)]
        with ThreadPoolExecutor(20) as pool:
            assert [webhook.job_id for webhook in pool.map(receiver.wait, many)] == many
    assert [webhook.state for webhook in told if webhook.job_id == job_id] == ["queued", "loading", "working", "done"]


def test_a_webhook_that_could_not_be_handled_comes_again(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []

    def handle(webhook: Webhook) -> None:
        seen.append(webhook.seq)
        if len(seen) == 1:
            raise RuntimeError("the disk is full")

    with Receiver(SECRET, on=handle) as receiver, app.client() as client:
        job_id = client.submit("a", "x", state_webhook_url=receiver.url, webhook_events=["done"]).job_id
        receiver.wait(job_id)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert "the disk is full" in capsys.readouterr().err


def test_what_is_not_signed_by_a_known_secret_is_refused() -> None:
    told: list[Webhook] = []
    with Receiver("another", SECRET, on=told.append) as receiver:
        assert post(receiver, CHANGE, "1", secret="a stranger's") == 401
        assert httpx2.post(receiver.url, json=CHANGE, trust_env=False).status_code == 401
        assert told == []
        assert post(receiver, CHANGE, "1") == 204
        assert post(receiver, CHANGE, "1") == 204  # once more, as Foreman may send it
        assert post(receiver, CHANGE, "2", secret="another") == 204
        assert post(receiver, b"hello", "3") == 400
        assert len(told) == 2
        assert receiver.wait("J1").text == "hello"


def test_without_secrets_whatever_comes_is_believed() -> None:
    with Receiver() as receiver:
        assert httpx2.post(receiver.url, json=CHANGE, trust_env=False).status_code == 204
        assert httpx2.post(receiver.url, json={"hello": 1}, trust_env=False).status_code == 400
        assert receiver.wait("J1").ended


def test_a_secret_that_is_none_and_a_port_that_is_taken_are_faults() -> None:
    with pytest.raises(ValueError, match="base64"):
        Receiver("whsec_???")
    with Receiver() as receiver, pytest.raises(OSError, match="in use"):
        Receiver(port=int(receiver.url.rpartition(":")[2].strip("/")))


def test_foreman_may_call_by_another_name() -> None:
    receiver = Receiver(url="https://hooks.example.org/foreman")
    assert receiver.url == "https://hooks.example.org/foreman"
    receiver.close()


def said(connection: socket.socket) -> bytes:
    """Return all that a receiver says until it hangs up."""
    connection.settimeout(20)
    return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    "start", ["POST / HT", "POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"], ids=["head", "body"]
)
def test_a_sender_that_drips_is_not_waited_for(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "REQUEST_TIMEOUT", 0.2)
    with Receiver() as receiver, connected(receiver) as connection:
        connection.sendall(start.encode())
        drops = 0
        with suppress(BrokenPipeError, ConnectionResetError):  # it hangs up
            while drops < 2000:
                connection.sendall(b"x")
                drops += 1
                select.select([], [], [], 0.01)
    assert drops < 2000


def test_senders_beyond_the_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "SENDERS", 2)
    with Receiver() as receiver, connected(receiver) as first, connected(receiver) as second:
        for connection in (first, second):
            connection.sendall(b"POST / HTTP/1.1\r\n")
        with connected(receiver) as third:
            assert said(third) == b""
        first.sendall(b"\r\n")
        assert said(first).startswith(b"HTTP/1.0 411")
        assert 204 in (tried(receiver) for _ in range(200))  # its place is free as soon as its thread has ended


def tried(receiver: Receiver) -> int | None:
    with suppress(httpx2.TransportError):
        return post(receiver, CHANGE, "1")
    return None


def test_bodies_have_room_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "ROOM", 1000)
    with Receiver() as receiver, connected(receiver) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n")
        assert 503 in (post(receiver, CHANGE, "1") for _ in range(200))  # as soon as that one is read
        slow.sendall(b"x" * 900)
        assert said(slow).startswith(b"HTTP/1.0 400")
        assert post(receiver, CHANGE, "3") == 204


def test_ends_that_nobody_asks_for_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "ROOM", 3 * len(msgspec.json.encode(CHANGE)) + 10)
    with Receiver() as receiver:
        for number in range(1, 6):
            assert post(receiver, CHANGE | {"job_id": f"J{number}"}, str(number)) == 204
        for number in (1, 2):
            with pytest.raises(NotEnded):
                receiver.wait(f"J{number}", within=0)
        assert [receiver.wait(f"J{number}").job_id for number in (3, 4, 5)] == ["J3", "J4", "J5"]


def connected(receiver: Receiver) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(receiver.url.rpartition(":")[2].strip("/"))))
