"""Compressed requests: unpacked on every route within the limit, or refused by the name of their coding."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.http.conftest import Api

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "identity, deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


def chat(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "a", "stream": False, "messages": messages, "input": text, "prompt": text}).encode()


@pytest.mark.parametrize("coding", PACK)
def test_a_compressed_body_is_read_on_every_route(api: Api, coding: str) -> None:
    packed = PACK[coding](chat(f"#echo {coding}"))
    for path in ("/api/chat", "/api/generate", "/api/embed"):
        answer = api.http.post(path, content=packed, headers=JSON | {"Content-Encoding": coding})
        assert answer.status_code == 200, answer.text
    assert (
        json.loads(api.http.post("/api/show", content=packed, headers={"Content-Encoding": coding}).text)["name"] == "a"
    )
    job = api.http.post("/jobs", content=packed, headers=JSON | {"Content-Encoding": coding})
    assert job.status_code == 202
    assert api.ended(job.json()["job_id"])["result"]["message"]["content"] == f"#echo {coding} "


def test_lines_are_unpacked_as_they_come(api: Api) -> None:
    many = b"\n".join(chat(f"line {n}") for n in range(50))
    for coding, pack in PACK.items():
        answer = api.http.post("/jobs", content=pack(many), headers=LINES | {"Content-Encoding": coding})
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 50, 0)
    cut = gzip.compress(many + b"\n")[:-4]  # all of the text, and not all of the checksum
    told = api.http.post("/jobs", content=cut, headers=LINES | {"Content-Encoding": "gzip"}).json()
    assert (told["accepted"], told["errors"][0]["code"]) == (50, "body_unreadable")
    for job in told["jobs"]:
        api.ended(job["job_id"])


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "zstd, identity, gzip", "lz4;q=1"])
def test_another_coding_is_refused_by_its_name(api: Api, coding: str) -> None:
    words = f"Content-Encoding must be gzip or deflate or zstd or identity; given: {coding}"
    for path, headers in (("/jobs", JSON), ("/jobs", LINES), ("/api/chat", JSON), ("/v1/messages", JSON)):
        answer = api.http.post(path, content=b"{}", headers=headers | {"Content-Encoding": coding})
        assert answer.status_code == 415
        assert words in answer.text
        assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd, identity"
    upload = api.http.post("/api/blobs/sha256:0", content=b"x", headers={"Content-Encoding": coding})
    assert (upload.status_code, upload.json()) == (
        415,
        {"error": f"Content-Encoding must be identity; given: {coding}"},
    )


def test_what_is_not_as_it_says_is_refused(api: Api) -> None:
    for coding, pack in PACK.items():
        for body in (b'{"model":"a"}', pack(chat("x"))[:-2], pack(chat("x")) + b"}"):
            answer = api.http.post("/jobs", content=body, headers=JSON | {"Content-Encoding": coding})
            assert (answer.status_code, answer.json()["code"]) == (400, "body_unreadable")
            assert "its Content-Encoding" in answer.json()["hint"]
    answer = api.http.post("/v1/chat/completions", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.json()["error"]["message"].startswith("failed to read request body: it is not gzip")


def test_what_unfolds_beyond_the_limit_is_refused(api: Api) -> None:
    for coding, pack in PACK.items():
        bomb = pack(b'{"model":"a","x":"' + b"x" * 2**22 + b'"}')
        assert len(bomb) < 10_000
        for path, headers in (("/jobs", JSON), ("/api/chat", JSON), ("/v1/responses", JSON)):
            answer = api.http.post(path, content=bomb, headers=headers | {"Content-Encoding": coding})
            assert (answer.status_code, "larger than 1048576 bytes" in answer.text) == (413, True)
        told = api.http.post("/jobs", content=bomb, headers=LINES | {"Content-Encoding": coding}).json()
        assert [error["code"] for error in told["errors"]] == ["body_too_large"]
    endless = iter([gzip.compress(b"") * 1000] * 60)  # nothing comes of it, and it is too large all the same
    answer = api.http.post("/jobs", content=endless, headers=LINES | {"Content-Encoding": "gzip"})
    assert answer.json()["errors"][0]["code"] == "body_too_large"
