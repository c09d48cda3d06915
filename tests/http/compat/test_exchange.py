"""Requests that are answered before their end has come."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import sleep

import pytest

from tests.support.foreman import Daemon

BODY = b'{"model":"a"}'
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("path", [b"/api/chat", b"/api/blobs/sha256:0", b"/no/such/route"])
def test_an_answer_that_needs_no_body_leaves_the_connection_usable(serve: Callable[..., Daemon], path: bytes) -> None:
    daemon = serve(token="secret", ollama_url="http://127.0.0.1:9")
    with socket.create_connection(("127.0.0.1", int(daemon.url.rpartition(":")[2])), timeout=60) as caller:
        for _ in range(3):
            caller.sendall(HEAD % (path, len(BODY)))
            sleep(0.05)  # by now an answer could be there
            caller.sendall(BODY)
            answer = b""
            while b"}" not in answer:
                piece = caller.recv(65536)
                assert piece, "the connection was closed"
                answer += piece
            assert answer.startswith(b"HTTP/1.1 401 ")
