"""The routes that change an Ollama server's models: passed through as they come, to those who may."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import ollama
import pytest

from tests.support.foreman import Daemon, an_upstream

PIECE = b"weights " * 8192


class Server(ThreadingHTTPServer):
    """As much of an Ollama server as manages models."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.go_on = threading.Event()
        self.models = ["a"]
        self.blobs: dict[str, int] = {}
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith(("/api/status", "/api/experimental", "/v1/new")):
            self.say(200, {"path": self.path})
            return
        if self.path.startswith("/api/odd"):
            self.say(299, {}, urllib.parse.unquote(self.path.partition("?")[2]))
            return
        self.say(200, {"models": [{"name": name, "model": name} for name in self.server.models], "version": "0.99.0"})

    def do_HEAD(self) -> None:
        self.server.heads.append(self.path)
        self.say(200 if self.path.rpartition("/")[2] in self.server.blobs or "blobs" not in self.path else 404, {})

    def do_DELETE(self) -> None:
        self.server.models.remove(json.loads(self.body())["model"])
        self.say(200, {})

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            self.take_blob()
            return
        if self.path == "/api/copy":
            self.body()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/api/me":
            self.say(401, {"said": self.body().decode(), "as": self.headers["Content-Type"]})
            return
        asked = json.loads(self.body())
        if self.path != "/api/pull":
            self.say(200, {"status": "success"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.piece(b'{"status":"pulling manifest"}\n')
        self.server.go_on.wait(30)
        self.server.models.append(asked["model"])
        self.piece(b'{"status":"success"}\n')
        self.piece(b"")

    def take_blob(self) -> None:
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        named = self.path.rpartition("/")[2]
        good = named == f"sha256:{digest.hexdigest()}"
        if good:
            self.server.blobs[named] = size
        self.say(201 if good else 400, {} if good else {"error": "digest mismatch"})

    def pieces(self) -> Iterator[bytes]:
        if "Content-Length" in self.headers:
            left = int(self.headers["Content-Length"])
            while left:
                piece = self.rfile.read(min(left, 65536))
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def body(self) -> bytes:
        return b"".join(self.pieces())

    def piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_PUT(self) -> None:
        self.say(201, {"put": json.loads(self.body())})

    def say(self, status: int, value: object, content_type: str = "application/json") -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Set-Cookie", "theirs=1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sized", [True, False])
def test_a_blob_is_streamed_through_however_large_it_is(
    serve: Callable[..., Daemon], server: Server, sized: bool
) -> None:
    daemon = serve(ollama_url=server.url, max_body="1 MiB")
    size = 640 * len(PIECE)
    digest = hashlib.sha256(PIECE * 640).hexdigest()
    headers = {"Content-Length": str(size)} if sized else {}
    path = f"/api/blobs/sha256:{digest}"
    assert daemon.http.head(path).status_code == 404
    sent = daemon.http.post(path, content=(PIECE for _ in range(640)), headers=headers)
    assert sent.status_code == 201, sent.text
    assert server.blobs == {f"sha256:{digest}": size}
    assert daemon.http.head(path).status_code == 200
    wrong = daemon.http.post("/api/blobs/sha256:0", content=b"x")
    assert (wrong.status_code, wrong.json()) == (400, {"error": "digest mismatch"})
    assert daemon.http.post("/api/create", content=PIECE * 32).status_code == 413


def test_progress_is_passed_on_as_it_comes_and_the_model_known_at_once(
    serve: Callable[..., Daemon], server: Server
) -> None:
    daemon = serve(ollama_url=server.url)
    client = ollama.Client(host=daemon.url, trust_env=False)
    with client._client:
        progress = client.pull("new", stream=True)
        assert next(iter(progress)).status == "pulling manifest"
        assert "new" not in daemon.http.get("/v1/models").text
        server.go_on.set()
        assert [part.status for part in progress] == ["success"]
        assert "new" in daemon.http.get("/v1/models").text
        assert client.delete("new").status == "success"
        assert "new" not in daemon.http.get("/v1/models").text
        assert client.copy("a", "b").status == "success"


def test_only_the_admins_token_manages(serve: Callable[..., Daemon], server: Server) -> None:
    daemon = serve(ollama_url=server.url, token="caller", admin_token="admin")
    given: list[tuple[str, int]] = [("", 401), ("Bearer wrong", 401), ("Bearer caller", 403), ("Bearer admin", 200)]
    with httpx2.Client(base_url=daemon.url, trust_env=False) as http:
        for token, status in given:
            headers = {"Authorization": token} if token else {}
            answer = http.post("/api/copy", json={"source": "a", "destination": "b"}, headers=headers)
            assert answer.status_code == status, answer.text
            assert status == 200 or set(answer.json()) == {"error"}


def test_an_admin_token_alone_leaves_the_rest_open(serve: Callable[..., Daemon], server: Server) -> None:
    daemon = serve(ollama_url=server.url, admin_token="admin")
    assert daemon.http.get("/api/tags").status_code == 200
    assert daemon.http.request("DELETE", "/api/delete", json={"model": "a"}).status_code == 403
    assert server.models == ["a"]


def test_routes_that_a_newer_ollama_may_have_are_passed_on(serve: Callable[..., Daemon], server: Server) -> None:
    daemon = serve(ollama_url=server.url, admin_token="admin")
    for path in ("/api/status", "/api/experimental/web_search?q=a%20b&q=c", "/v1/new/route%2Fx"):
        answer = daemon.http.get(path)
        assert (answer.status_code, answer.json(), answer.headers.get("Set-Cookie")) == (200, {"path": path}, None)
    assert daemon.http.get(daemon.url + "//api/status/").json() == {"path": "/api/status"}
    assert daemon.http.head("/api/anything").status_code == 200 and server.heads == ["/api/anything"]
    assert daemon.http.get("/api/odd").status_code == 299
    for method, path in (("POST", "/api/me"), ("PUT", "/api/new"), ("DELETE", "/api/user/keys/x"), ("BREW", "/api/x")):
        assert daemon.http.request(method, path, json={}).status_code == 403, "it may change something"
    admin = {"Authorization": "Bearer admin"}
    asked = daemon.http.post(
        "/api/me", content=b"--x", headers=admin | {"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (asked.status_code, asked.json()) == (401, {"said": "--x", "as": "multipart/form-data; boundary=x"})
    assert daemon.http.put("/api/new", json={"a": 1}, headers=admin).json() == {"put": {"a": 1}}
    for path in ("/api/%2e%2e/metrics", "/api/x/../chat", "/elsewhere", "/apis/x"):
        host, _, port = daemon.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:  # clients would tidy the path
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x.localhost\r\nConnection: close\r\n\r\n".encode())
            assert b"".join(iter(lambda: raw.recv(65536), b"")).startswith(b"HTTP/1.1 404 Not Found"), path
    wrong = daemon.http.get("/api/chat")
    assert (wrong.status_code, "POST" in wrong.headers["Allow"]) == (405, True)


def test_no_answer_of_the_target_runs_as_a_page_of_foremans(serve: Callable[..., Daemon], server: Server) -> None:
    http = serve(ollama_url=server.url).http
    plain = ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "application/x-ndjson"]
    plain += ["application/octet-stream", 'text/plain;charset="utf-8"', "text/event-stream"]
    pages = ["text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/css"]
    pages += ["text/javascript", "multipart/x-mixed-replace; boundary=x", "text/htmljson", "x", ""]
    pages += ["text/plain;a=b, text/html", "text/plain, text/html", "application/json;charset=x,text/html"]
    shown = {kind: kind for kind in plain} | dict.fromkeys(pages, "application/octet-stream")
    for kind, expected in shown.items():
        answer = http.get(f"/api/odd?{urllib.parse.quote(kind)}")
        assert (kind, answer.headers["Content-Type"]) == (kind, expected)
        _assert_sandboxed(answer)
    for answer in (
        http.get("/api/tags"),
        http.head("/api/version"),
        http.post("/api/create", json={"model": "new"}),
        http.post("/api/copy", json={"source": "a", "destination": "b"}),
        http.post("/api/show", json={"model": "a"}),
        http.post("/api/me", json={}),
        http.post("/api/blobs/sha256:0", content=b"x"),
    ):
        _assert_sandboxed(answer)


def _assert_sandboxed(answer: httpx2.Response) -> None:
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"], answer.request.url
    assert answer.headers.get_list("Content-Security-Policy") == ["sandbox; default-src 'none'"], answer.request.url


def test_an_empty_answer_gets_no_content_type(serve: Callable[..., Daemon], server: Server) -> None:
    daemon = serve(ollama_url=server.url)
    answer = daemon.http.post("/api/copy", json={"source": "a", "destination": "b"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "Content-Type" not in answer.headers


def test_heads_are_passed_on_as_heads(serve: Callable[..., Daemon], server: Server) -> None:
    daemon, paths = serve(ollama_url=server.url), ["/api/tags", "/api/ps", "/api/version"]
    for path in paths:
        answer = daemon.http.head(path)
        assert answer.status_code == 200 and answer.content == b""
    assert server.heads == paths


def test_other_targets_have_no_models_to_manage(serve: Callable[..., Daemon]) -> None:
    with an_upstream("--kind", "openai") as upstream:
        http = serve(openai_url=upstream.url).http
        routes: list[tuple[str, str]] = [("POST", f"/api/{verb}") for verb in ("pull", "push", "create", "copy")]
        for method, path in [*routes, ("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:0")]:
            answer: Any = http.request(method, path, json={"model": "a"})
            assert answer.status_code == 501 and "manages models of an Ollama server" in answer.json()["error"]
        for method, path in (("GET", "/api/status"), ("POST", "/api/me"), ("GET", "/v1/new")):
            assert http.request(method, path).status_code == 404
