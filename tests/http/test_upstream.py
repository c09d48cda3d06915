"""/upstream: requests that are passed on to a managed model's server."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.http.conftest import Api
from tests.support.foreman import LONG

Start = Callable[..., Api]

# Tells what it was asked; streams one piece, and the next when it is asked for it; and fails in several ways.
SERVER = """
import hashlib, http.server, json, os, socketserver, sys, threading
more = threading.Event()
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): daemon_threads = True
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def head(self, kind, length=None, **headers):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        for name, value in headers.items(): self.send_header(name.replace("_", "-"), value)
        self.end_headers()
    def piece(self, data): self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(data), data)); self.wfile.flush()
    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline(), 16): data += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
    def tell(self):
        path, body = self.path.partition("?")[0], self.body()
        if path == "/health": return self.head("text/plain", 0)
        if path == "/html": self.head("text/html", 6); return self.wfile.write(b"<html>")
        if path == "/more": more.set(); return self.head("text/plain", 0)
        if path == "/silent": return threading.Event().wait()
        if path == "/die": print("out of memory", flush=True); os._exit(3)
        if path in ("/stream", "/stall"):
            self.head("text/event-stream"); self.piece(b"data: 1\\n\\n")
            (more if path == "/stream" else threading.Event()).wait()
            self.piece(b"data: 2\\n\\n"); return self.piece(b"")
        told = {"model": sys.argv[2], "method": self.command, "path": self.path, "headers": dict(self.headers),
                "size": len(body), "sha": hashlib.sha256(body).hexdigest()}
        data = json.dumps(told).encode()
        self.head("application/json", len(data), ETag="e1", Set_Cookie="a=b", Access_Control_Allow_Origin="*")
        if self.command != "HEAD": self.wfile.write(data)
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = tell
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def served(*names: str, **fields: object) -> str:
    command = [sys.executable, "-c", SERVER, "{port}", "{name}"]
    return json.dumps([{"name": name, "command": command, **fields} for name in names])


def told(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_request_reaches_the_models_server_as_it_is(fresh: Start) -> None:
    http = fresh(models=served("a", "org/a", "org/a/b", aliases=[])).http
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        found = told(http.request(method, "/upstream/a/props//x/?q=%20a&b"))
        assert (found["method"], found["path"], found["model"]) == (method, "/props//x/?q=%20a&b", "a")
    assert told(http.get("/upstream/org/a/slots"))["model"] == "org/a"
    assert told(http.get("/upstream/org%2Fa/slots")) | {"headers": None} == {
        "model": "org/a",
        "method": "GET",
        "path": "/slots",
        "headers": None,
        "size": 0,
        "sha": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert told(http.get("/upstream/org/a/b/c"))["model"] == "org/a/b"  # the longest name
    assert told(http.get("/upstream/a"))["path"] == "/" == told(http.get("/upstream/a/"))["path"]
    assert http.head("/upstream/a/x").headers["ETag"] == "e1"


def test_headers_between_the_caller_and_foreman_stay_there(fresh: Start) -> None:
    http = fresh(models=served("a"), token="secret", insecure=True).http
    given = {
        "Authorization": "Bearer secret",
        "X-Api-Key": "secret",
        "Cookie": "c=1",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
        "Accept": "application/json, text/event-stream",
        "X-Own": "yes",
        "Range": "bytes=0-1",
    }
    response = http.get("/upstream/a/x", headers=given)
    seen = {name.lower(): value for name, value in told(response)["headers"].items()}
    assert seen["x-own"] == "yes" and seen["accept"] == given["Accept"] and seen["range"] == "bytes=0-1"
    assert seen["authorization"].startswith("Bearer ") and "secret" not in json.dumps(seen)
    assert seen.keys().isdisjoint({"cookie", "te", "x-hop", "x-api-key"})
    assert "Set-Cookie" not in response.headers and response.headers["ETag"] == "e1"
    assert response.headers.get("Access-Control-Allow-Origin") is None
    assert response.headers["Content-Security-Policy"].startswith("sandbox")


def test_a_content_type_that_no_head_may_have_is_left_out(fresh: Start) -> None:
    http = fresh(models=served("a")).http
    found = told(http.post("/upstream/a/x", content=b"1", headers={b"Content-Type": "a\u2028".encode()}))
    assert found["headers"]["Content-Type"] == "application/octet-stream"


def test_it_wants_the_token(fresh: Start) -> None:
    api = fresh(models=served("a"), token="secret")
    assert httpx2.get(f"{api.daemon.url}/upstream/a/x").status_code == 401


def test_with_private_jobs_it_is_the_admins(fresh: Start) -> None:
    api = fresh(models=served("a"), token="alice:secret", admin_token="root", private_jobs=True)

    def status(token: str) -> int:
        url = f"{api.daemon.url}/upstream/a/x"
        return httpx2.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=LONG).status_code

    assert status("secret") == 403 and status("root") == 200


def test_bodies_are_streamed_both_ways(fresh: Start) -> None:
    http = fresh(models=served("a"), max_body="8 MiB").http
    body = bytes(range(256)) * 4096 * 4
    sized = told(http.post("/upstream/a/x", content=body, headers={"Content-Type": "audio/wav"}))
    assert sized["size"] == len(body) and sized["headers"]["Content-Length"] == str(len(body))
    assert sized["headers"]["Content-Type"] == "audio/wav"
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    assert told(http.post("/upstream/a/x", content=pieces))["sha"] == sized["sha"]
    packed = http.post("/upstream/a/x", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert told(packed)["sha"] == sized["sha"]
    assert told(http.post("/upstream/a/x", content=b""))["size"] == 0
    assert http.post("/upstream/a/x", content=body * 3).status_code == 413
    with http.stream("GET", "/upstream/a/stream") as response:
        lines = response.iter_raw()
        assert next(lines) == b"data: 1\n\n"
        http.get("/upstream/a/more")
        assert b"".join(lines) == b"data: 2\n\n"


def test_no_page_of_a_server_runs_here(fresh: Start) -> None:
    response = fresh(models=served("a")).http.get("/upstream/a/html")
    assert response.text == "<html>" and response.headers["Content-Type"] == "application/octet-stream"


def test_a_path_that_climbs_is_not_found(fresh: Start) -> None:
    api = fresh(models=served("a"))
    for path in ("a/../x", "a/%2e%2e/x", "a/x/..%2f..", "a/%2E", "a/..%5cx"):
        status, _ = raw(api, f"GET /upstream/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status == 404, path


def test_an_unknown_model_is_not_found(fresh: Start) -> None:
    response = fresh(models=served("a")).http.get("/upstream/b/x")
    assert (response.status_code, response.json()["code"]) == (404, "model_not_found")


def test_other_targets_have_no_upstream(api: Api) -> None:
    response = api.http.get("/upstream/a/x")
    assert (response.status_code, response.json()["code"]) == (501, "not_on_this_target")


@pytest.mark.parametrize("kind", ["websocket", "other"])
def test_an_upgrade_is_refused_in_plain_words(fresh: Start, kind: str) -> None:
    api = fresh(models=served("a"))
    lines = ["GET /upstream/a/x HTTP/1.1", "Host: localhost", "Connection: Upgrade, close", f"Upgrade: {kind}"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
    status, body = raw(api, "\r\n".join([*lines, "", ""]))
    assert status == 422 and "no websockets" in body


def test_it_makes_room_as_jobs_do(fresh: Start) -> None:
    http = fresh(models=served("a", "b")).http
    for model in ("a", "b", "a"):
        assert told(http.get(f"/upstream/{model}/x"))["model"] == model
    assert http.get("/queue").json()["resident"] == "a"


def test_a_request_waits_for_the_end_of_another_models(fresh: Start) -> None:
    http = fresh(models=served("a", "b")).http
    with ThreadPoolExecutor() as pool, http.stream("GET", "/upstream/a/stream") as response:
        lines = response.iter_raw()
        next(lines)
        other = pool.submit(http.get, "/upstream/b/x")
        http.get("/queue")
        assert not other.done()
        response.close()  # the caller leaves, and the server is free
        assert told(other.result(LONG))["model"] == "b"


@pytest.mark.parametrize(
    ("path", "settings", "code"),
    [
        ("silent", {"first_chunk_timeout": 0.3}, "target_silent"),
        ("silent", {"attempt_timeout": 1}, "attempt_timeout"),
        ("die", {}, "model_crashed"),
    ],
)
def test_a_server_that_does_not_answer_is_given_up(
    fresh: Start, path: str, settings: dict[str, object], code: str
) -> None:
    http = fresh(models=served("a"), **settings).http
    http.get("/upstream/a/x")
    response = http.get(f"/upstream/a/{path}")
    assert response.status_code in (502, 504) and response.json()["code"] == code
    assert told(http.get("/upstream/a/x"))["model"] == "a"


def test_an_answer_that_stalls_is_broken_off(fresh: Start) -> None:
    http = fresh(models=served("a"), stall_timeout=0.3).http
    with http.stream("GET", "/upstream/a/stall") as response, pytest.raises(httpx2.RemoteProtocolError):
        for _ in response.iter_raw():
            pass


def test_a_server_that_cannot_start_says_why(fresh: Start) -> None:
    models = json.dumps([{"name": "a", "command": [sys.executable, "-c", "raise SystemExit('no weights')"]}])
    response = fresh(models=models).http.get("/upstream/a/x")
    assert (response.status_code, response.json()["code"]) == (502, "model_crashed")
    assert "no weights" in response.json()["error"]


def test_a_caller_that_leaves_frees_the_server(fresh: Start) -> None:
    api = fresh(models=served("a", "b"))
    url = f"{api.daemon.url}/upstream/a/silent"
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].partition("/")[0]))) as leaving:
        leaving.sendall(b"GET /upstream/a/silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        timer = threading.Timer(0.5, leaving.shutdown, [socket.SHUT_RDWR])
        timer.start()
        leaving.recv(1)
    assert told(api.http.get("/upstream/b/x"))["model"] == "b"


def raw(api: Api, request: str) -> tuple[int, str]:
    """The status and the body of the answer to a request that no client would send."""
    port = int(api.daemon.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), LONG) as connection:
        connection.sendall(request.encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body
