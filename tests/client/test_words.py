"""What is said when something fails: words for people, with nothing of Python in them."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from foreman.client import ArgumentInvalid, AsyncClient, Client, ClientError, ConnectFailed
from foreman.client.writing import encode, text
from tests.client.conftest import StaticAnswer

PYTHONS = re.compile(
    r"\(\W*'|\.py|\.c:\d|\[Errno|<[a-z_]+[. ]|Error\b|Exception|Traceback|\b[a-z]+\.[A-Z]\w+|`(str|int|array|object)`"
)
CRLF = "\r\n"


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The address of a server that says the same to everybody and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def head(*lines: str) -> bytes:
    return (CRLF.join(["HTTP/1.1 200 OK", *lines]) + CRLF * 2).encode()


def error(url: str) -> str:
    """What both clients say about a Foreman at this address."""
    said: list[str] = []
    with pytest.raises(ClientError) as caught, Client(url, timeout=20) as client:
        client.queue()
    said.append(str(caught.value))

    async def ask() -> None:
        with pytest.raises(ClientError) as caught:
            async with AsyncClient(url, timeout=20) as client:
                await client.queue()
        said.append(str(caught.value))

    anyio.run(ask)
    assert said[0] == said[1]
    assert not PYTHONS.search(said[0]), said[0]
    return said[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a..b",
        f"http://{'a' * 64}",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://x:y",
        "http://x y",
        "ftp://127.0.0.1",
        "unix:///run/foreman",
        "http://",
        "http://\udcff",
    ],
)
def test_an_address_that_is_none_is_said_to_be_none(url: str) -> None:
    assert error(url).endswith(": not a valid URL, such as http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the connection broke"),
        (b"220 smtp.example.com ready\r\n", "the connection broke"),
        (head("Content-Length: 99") + b"{", "the connection broke"),
        (
            head("Content-Encoding: gzip", "Content-Length: 3") + b"xxx",
            "(it compresses its answers with gzip, unasked)",
        ),
        (head("Content-Length: 3") + b"xxx", "is not a foreman (/queue is not JSON)"),
        (head("Content-Length: 2") + b"[]", "is not a foreman (/queue is JSON of another shape)"),
        (head("Content-Length: 14") + b'{"queued":"x"}', "is not a foreman (/queue is JSON of another shape)"),
    ],
)
def test_what_answers_otherwise_is_told_in_words(answer: bytes, said: str) -> None:
    with answering(answer) as address:
        assert said in error(f"http://{address}")


def test_a_server_without_tls_is_told_in_words() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert error(f"https://{address}").endswith("TLS failed (wrong version number)")


def test_a_name_that_is_nobodys_is_told_in_words() -> None:
    assert "its name cannot be resolved (" in error("http://nobody.invalid")


@pytest.mark.parametrize("token", ["ü", "a\nb", "\udcff"])
def test_what_no_request_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ArgumentInvalid, match="the token cannot be sent: use visible ASCII characters only"):
        Client(token=token)
    with Client() as client, pytest.raises(ArgumentInvalid, match="the idempotency key cannot be sent"):
        client.submit("m", "x", idempotency_key=token)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("given", "place"),
    [
        (lambda number: {"timeout": number}, "timeout"),
        (lambda number: {"temperature": number}, "options.temperature"),
        (lambda number: {"extra": {"a": [{"b": number}]}}, "a.0.b"),
    ],
)
def test_a_number_that_json_does_not_have_is_refused_and_not_dropped(
    told: StaticAnswer, number: float, given: Callable[[float], Any], place: str
) -> None:
    with Client() as client:
        with pytest.raises(ArgumentInvalid, match=f"^{place} is -?(nan|inf): JSON has no such number"):
            client.submit("m", "x", **given(number))
        with pytest.raises(ArgumentInvalid):
            client.submit_many([given(number)])
    assert told.asked == []


def test_halves_of_surrogate_pairs_are_replaced_and_whole_ones_joined() -> None:
    assert encode({"a\udcff": ["\ud83d\ude00", "x\ud800"], "n": None}) == '{"a�":["😀","x�"],"n":null}'.encode()
    assert text("\ud83d\ude00 \udcff 😀") == "😀 � 😀"


def test_they_are_found_in_names_too(told: StaticAnswer) -> None:
    with Client() as client:
        for ask in (lambda: client.job("\udcff"), lambda: client.jobs(model="\udcff")):
            with pytest.raises(ClientError):
                ask()
    assert [asked for asked, _, _ in told.asked] == ["GET /jobs/%EF%BF%BD", "GET /jobs?model=%EF%BF%BD"]


def test_nobody_there_is_told_alike_by_both() -> None:
    with socket.socket() as probe:  # bound and not listening: refused for sure
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        assert error(url) == f"no foreman at {url}: start one with 'foreman serve', or set FOREMAN_URL"
        with pytest.raises(ConnectFailed) as caught, Client(url) as client:
            client.queue()
        assert caught.value.nobody
