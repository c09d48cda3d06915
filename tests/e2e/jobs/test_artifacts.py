"""What a finished job leaves: inline or by URL, byte for byte, and harmless in a browser."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.api import chat
from tests.support.foreman import Daemon
from tests.support.target import PIXEL

INLINE = 262_144  # bytes


def finished(daemon: Daemon, text: str) -> dict[str, Any]:
    answer = daemon.http.post("/jobs", json=chat(text), headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["state"]) == (200, "done")
    return dict(answer.json())


@pytest.mark.parametrize("size", [INLINE, INLINE + 1])
def test_an_artifact_is_inline_up_to_the_limit_and_a_url_beyond_it(daemon: Daemon, size: int) -> None:
    (small,) = finished(daemon, "#echo x")["artifacts"]
    job = finished(daemon, "#echo " + "x" * (size - small["size"] + 1))
    (artifact,) = job["artifacts"]
    assert (artifact["name"], artifact["content_type"], artifact["size"]) == ("completion", "application/json", size)
    raw = daemon.http.get(f"/jobs/{job['job_id']}/artifacts/completion").content
    assert len(raw) == size
    assert json.loads(raw) == job["result"]
    if size <= INLINE:
        assert "url" not in artifact
        assert artifact["data"].encode() == raw
    else:
        assert "data" not in artifact
        assert artifact["url"] == f"/jobs/{job['job_id']}/artifacts/completion"


def test_an_image_comes_back_byte_for_byte(daemon: Daemon) -> None:
    job = finished(daemon, "#image")
    completion, image = job["artifacts"]
    assert completion["name"] == "completion"
    assert (image["name"], image["content_type"], image["encoding"]) == ("image-0.png", "image/png", "base64")
    picture = base64.b64decode(PIXEL)
    assert base64.b64decode(image["data"]) == picture
    answer = daemon.http.get(f"/jobs/{job['job_id']}/artifacts/image-0.png")
    assert (answer.content, answer.headers["content-type"]) == (picture, "image/png")


def test_what_looks_like_a_page_runs_nothing(daemon: Daemon) -> None:
    job = finished(daemon, "#echo <html><script>alert(document.domain)</script></html>")
    answer = daemon.http.get(f"/jobs/{job['job_id']}/artifacts/completion", headers={"Accept": "text/html"})
    assert "<script>" in answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_artifacts_are_served_in_ranges_and_not_twice(daemon: Daemon) -> None:
    url = f"/jobs/{finished(daemon, '#image')['job_id']}/artifacts/image-0.png"
    whole = daemon.http.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    assert int(whole.headers["content-length"]) == len(whole.content)
    part = daemon.http.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert part.headers["content-range"] == f"bytes 1-3/{len(whole.content)}"
    assert part.headers["content-security-policy"] == whole.headers["content-security-policy"]
    tail = daemon.http.get(url, headers={"Range": "bytes=-4"})
    assert (tail.status_code, tail.content) == (206, whole.content[-4:])
    assert daemon.http.get(url, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    known = daemon.http.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
