"""Paths as clients build them: doubled slashes, slashes at the end, a base address that holds the version already."""

from __future__ import annotations

import socket
from contextlib import closing

import httpx2
import pytest

from foreman.http.paths import tidied
from tests.http.conftest import Api

CHAT = {"model": "a", "stream": False, "messages": [{"role": "user", "content": "#echo here"}]}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (b"/api/chat/", b"/api/chat"),
        (b"//api///chat//", b"/api/chat"),
        (b"/v1/v1/v1/chat/completions", b"/v1/chat/completions"),
        (b"/api/api/tags", b"/api/tags"),
        (b"/v1//v1/models", b"/v1/models"),
        (b"/v1/v1", b"/v1/v1"),
        (b"/v1/models/v1/v1/x", b"/v1/models/v1/v1/x"),
        (b"/v1/models/%2Fmodels%2F%2Fx%2F", b"/v1/models/%2Fmodels%2F%2Fx%2F"),
        (b"http://localhost:8080//api/tags", b"/api/tags"),
        (b"HTTP://localhost", b"/"),
        (b"//", b"/"),
        (b"*", b"*"),
    ],
)
def test_a_path_is_tidied_but_what_is_encoded_stays(given: bytes, meant: bytes) -> None:
    assert tidied(given) == meant
    assert tidied(meant) == meant


@pytest.mark.parametrize(
    "path",
    [
        *("/api/chat/", "//api/chat", "/api//generate//", "/api/api/embed/", "//jobs"),
        *("/v1/chat/completions/", "/v1/v1//chat/completions", "//v1/embeddings", "/v1/messages/"),
    ],
)
def test_a_post_finds_its_route_without_a_redirect(api: Api, path: str) -> None:
    answer = api.http.post(api.daemon.url + path, json={"model": "nope"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "model" in answer.text and "not found" in answer.text, "its route asked for the model"
    if "chat" in path and "/api" in path:
        served = api.http.post(api.daemon.url + path, json=CHAT, follow_redirects=False)
        assert served.json()["message"]["content"] == "#echo here "


@pytest.mark.parametrize("path", ["/api/tags/", "//api/tags", "/v1//models/", "/v1/v1/models", "/jobs/", "//healthz/"])
def test_so_does_a_get(api: Api, path: str) -> None:
    assert api.http.get(api.daemon.url + path, follow_redirects=False).status_code == 200


def test_faults_have_the_shape_of_the_tidied_path(api: Api) -> None:
    lost = api.http.post(api.daemon.url + "//v1/v1/messages/", json={"model": "nope"}).json()
    assert (lost["type"], lost["error"]["message"]) == ("error", "model 'nope' not found")
    assert api.http.post(api.daemon.url + "//api//chat", json={"model": "nope"}).json() == {
        "error": "model 'nope' not found"
    }
    unknown = api.http.get("/jobs//nope/")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")


def test_a_model_name_may_begin_with_a_slash(api: Api) -> None:
    for path in ("/v1/models/%2Fmodels%2Fa", "/v1/models/org%2F%2Fa"):
        answer = api.http.get(api.daemon.url + path, follow_redirects=False)
        assert answer.status_code == 404
        assert (
            answer.json()["error"]["message"]
            == f"model '{path.removeprefix('/v1/models/').replace('%2F', '/')}' not found"
        )


def test_the_status_line_has_its_reason_phrase(api: Api) -> None:
    host, _, port = api.daemon.url.removeprefix("http://").partition(":")
    lines = {
        b"GET /healthz": b"HTTP/1.1 200 OK",
        b"GET /nowhere": b"HTTP/1.1 404 Not Found",
        b"PUT /jobs": b"HTTP/1.1 405 Method Not Allowed",
        b"GET http://localhost/v1//models": b"HTTP/1.1 200 OK",
        b"GET /x y": b"HTTP/1.1 400 Bad Request",
    }
    for asked, line in lines.items():
        with closing(socket.create_connection((host, int(port)), timeout=10)) as raw:
            raw.sendall(asked + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"".join(iter(lambda: raw.recv(65536), b"")).startswith(line + b"\r\n")


def test_a_post_that_no_route_takes_is_told_so_and_not_redirected(api: Api) -> None:
    answer: httpx2.Response = api.http.post("/nowhere//", json={}, follow_redirects=False)
    assert answer.status_code == 404
