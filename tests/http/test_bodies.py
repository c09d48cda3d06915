"""The bodies of requests: who may have one read, and how much of them is held at a time."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from foreman.http import asgi
from tests.http.conftest import Api
from tests.http.test_clients import connected, until_closed
from tests.support.foreman import Daemon

Fresh = Callable[..., Api]

DECLARED = b"Content-Length: 50000000\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NOBODY = "http://127.0.0.1:9"
OPEN = ("/healthz", "/readyz", "/", "/static/")  # to everybody, and read no body


def routes() -> list[tuple[str, str]]:
    """Method and path of each route but those that are open to all, with something in the place of what varies."""
    settings = cast(Any, SimpleNamespace(max_body=1, body_timeout=1))
    rules = asgi.build(cast(Any, SimpleNamespace(settings=settings))).url_map.iter_rules()
    found = set()
    for rule in rules:
        path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
        path = re.sub(r"<[^>]+>", "x", path)
        if not path.startswith(OPEN[3]) and path not in OPEN:
            found |= {(method, path) for method in (rule.methods or ()) if method not in ("HEAD", "OPTIONS")}
    return sorted(found)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Foreman that wants a token, before an Ollama, so that requests without a route are passed on."""
    folder = tmp_path_factory.mktemp("locked") / "data"
    with Daemon(folder, ollama_url=NOBODY, token="secret") as daemon:
        yield daemon


def answers_to(daemon: Daemon, heads: list[str], framing: bytes) -> list[bytes]:
    """The first lines of the answers to requests whose bodies do not come."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        asked = []
        for head in heads:
            raw = stack.enter_context(socket.create_connection((host, int(port)), timeout=15))
            raw.sendall(head.encode() + framing + b"\r\n")
            asked.append(raw)
        return [raw.recv(65536).partition(b"\r\n")[0] for raw in asked]


@pytest.mark.parametrize("framing", [DECLARED, CHUNKED], ids=["declared", "chunked"])
def test_no_body_is_waited_for_without_a_token(locked: Daemon, framing: bytes) -> None:
    table = [*routes(), ("POST", "/api/unknown"), ("POST", "/v1/unknown"), ("PUT", "/nowhere")]
    assert len(table) > 40
    heads = [
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        for method, path in table
        for kind in ("application/json", "application/x-ndjson")
    ]
    for head, said in zip(heads, answers_to(locked, heads, framing), strict=True):
        assert said == b"HTTP/1.1 401 Unauthorized", head


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Host: evil.example", b"403"),
        ("Host: localhost\r\nOrigin: https://evil.example", b"403"),
        ("Host: localhost\r\nAuthorization: Bearer secret\r\nContent-Type: text/plain", b"415"),
        ("Host: localhost\r\nAuthorization: Bearer secret\r\nContent-Encoding: br", b"415"),
        ("Host: localhost\r\nAuthorization: Bearer secret\r\nX-Foreman-Prority: low", b"422"),
    ],
)
def test_no_body_is_waited_for_when_the_head_is_refused(locked: Daemon, line: str, status: bytes) -> None:
    if "Content-Type" not in line:
        line += "\r\nContent-Type: application/json"
    (said,) = answers_to(locked, [f"POST /jobs HTTP/1.1\r\n{line}\r\n"], DECLARED)
    assert said.split()[1] == status


def test_who_is_refused_while_still_sending_hears_why(api: Api) -> None:
    """A connection that is closed with bytes unread is reset, and an answer that was not read yet lost with it."""
    size = 500_000
    with connected(api) as raw:
        raw.sendall(b"POST /jobs HTTP/1.1\r\nHost: evil.example\r\nContent-Length: %d\r\n\r\n" % size)
        first = raw.recv(10)  # the answer is there
        for _ in range(5):
            raw.sendall(b"x" * (size // 5))
        said = first + until_closed(raw)
    assert said.startswith(b"HTTP/1.1 403 ") and said.endswith(b"}\n")


def test_a_body_that_no_route_reads_is_not_taken_in(api: Api) -> None:
    job_id = api.submit("#slow=60")
    with connected(api) as raw:
        raw.settimeout(1)
        raw.sendall(
            f"GET /jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n".encode() + DECLARED + b"\r\n"
        )
        with pytest.raises(TimeoutError):
            raw.sendall(b"x" * 50_000_000)
    api.http.post(f"/jobs/{job_id}/cancel")
