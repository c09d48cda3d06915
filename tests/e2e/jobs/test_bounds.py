"""Bodies and lists that would take many times their size, or everybody's time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from foreman.domain.json_objects import MOST_FIELDS, MOST_SIGNS
from tests.support.api import state
from tests.support.foreman import Daemon, Upstream, until

JSON = {"Content-Type": "application/json"}
PAGE_SIZE = 2**20  # bytes that a page of a list has at most, but for its last entry
NEVER = b'"not_before":"2090-01-01T00:00:00Z"'
FILLINGS = {"objects": b"{},", "numbers": b"0,", "nested": b'[{"a":[]}],'}
FIELDS = {
    "metadata": (b'{"a":[%b0]}', 422, "field_invalid"),
    "webhook_events": (b"[%b0]", 422, "field_invalid"),
    "options": (b'{"adapters":[%b0]}', 422, "field_invalid"),
    "tools": (b"[%b0]", 202, None),  # nothing is made of them
}


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Foreman with none but these jobs, in its memory and in its line."""
    with Daemon(tmp_path_factory.mktemp("bounds") / "data", ollama_url=upstream.url, forked=False) as daemon:
        yield daemon
        assert not daemon.errors


def memory(daemon: Daemon, kind: str) -> int:
    """Return bytes of memory: VmRSS now, VmHWM the most ever."""
    with open(f"/proc/{daemon.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(kind))


class Looks:
    """Asks /healthz all the time meanwhile."""

    def __init__(self, daemon: Daemon) -> None:
        self._http = daemon.client()
        self._over = threading.Event()
        self.slowest = 0.0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Looks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._http.close()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.slowest = max(self.slowest, self._http.get("/healthz").elapsed.total_seconds())


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("field", FIELDS)
def test_a_large_field_holds_nobody_and_takes_little_memory(daemon: Daemon, field: str, filling: str) -> None:
    shape, status, code = FIELDS[field]
    many = 2**23 // len(FILLINGS[filling])
    body = b'{"model":"a",%b,"%b":%b}' % (NEVER, field.encode(), shape % (FILLINGS[filling] * many))
    before = memory(daemon, "VmRSS")
    with Looks(daemon) as looks:
        answer = daemon.http.post("/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert memory(daemon, "VmHWM") - before < 10 * len(body)  # objects would take thirty times as much
    assert looks.slowest < 5


def test_a_body_of_more_signs_than_anybody_needs_is_refused(daemon: Daemon) -> None:
    body = b'{"model":"a","messages":[' + b"{}," * (MOST_SIGNS // 2) + b"{}]}"
    answer = daemon.http.post("/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
    assert "commas and brackets" in answer.json()["hint"]


@pytest.mark.parametrize("key", ["k" * 65, "k" * 100_000])
def test_keys_of_metadata_are_as_short_as_names_are(daemon: Daemon, key: str) -> None:
    answer = daemon.http.post("/jobs", json={"model": "a", "messages": [], "metadata": {key: ""}})
    assert (answer.status_code, answer.json()["code"]) == (422, "field_invalid")
    fits = {"k" * 64: "v"}
    assert daemon.http.post("/jobs", json={"model": "a", "messages": [], "metadata": fits}).status_code == 202


def test_a_page_of_a_list_ends_early_when_it_grows_large(daemon: Daemon) -> None:
    metadata = {str(n): "x" * 1024 for n in range(16)}
    body = {"model": "a", "custom_id": "large", "metadata": metadata, "not_before": "2090-01-01T00:00:00Z"}
    many = PAGE_SIZE // (16 * 1024) + 10
    ids = [daemon.http.post("/jobs", json=body).json()["job_id"] for _ in range(many)]
    listed: list[str] = []
    pages = 0
    cursor: str | None = ""
    while cursor is not None:
        page: Any = daemon.http.get(f"/jobs?custom_id=large&limit=500{cursor and '&after=' + cursor}")
        assert len(page.content) < PAGE_SIZE * 1.1
        listed += [job["job_id"] for job in page.json()["jobs"]]
        cursor, pages = page.json()["next"], pages + 1
    assert listed == ids[::-1]
    assert pages == 2


def test_the_line_ends_early_when_it_grows_large(daemon: Daemon) -> None:
    metadata = {str(n): "x" * 1024 for n in range(16)}
    soon: dict[str, Any] = {"model": "a", "messages": [], "priority": "high", "metadata": metadata}
    late = soon | {"not_before": "2089-01-01T00:00:00Z"}  # before those of the test above
    many = PAGE_SIZE // (16 * 1024) + 10
    lines = [json.dumps(soon | {"custom_id": "soon"}), json.dumps(late | {"custom_id": "late"})] * many
    daemon.http.post("/queue/pause")
    answer = daemon.http.post(
        "/jobs", content="\n".join(lines).encode(), headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 202
    line: Any = daemon.http.get("/queue/jobs?limit=500")
    daemon.http.post("/queue/resume")
    assert len(line.content) < 2 * PAGE_SIZE * 1.1
    for shown, custom_id in ((line.json()["jobs"], "soon"), (line.json()["scheduled"], "late")):
        assert {job["custom_id"] for job in shown} == {custom_id}
        assert many // 2 < len(shown) < many
    assert [job["queue_position"] for job in line.json()["jobs"][:3]] == [1, 2, 3]


def test_a_large_request_is_answered_as_a_small_one(daemon: Daemon) -> None:
    messages = [{"role": "user", "content": f"word {n}"} for n in range(20_000)]
    job_id = daemon.http.post("/jobs", json={"model": "a", "messages": messages}).json()["job_id"]
    until(lambda: state(daemon, job_id) == "done")


def test_an_object_of_more_fields_than_anybody_needs_is_refused(daemon: Daemon) -> None:
    fields = b",".join(b'"k%d":1' % number for number in range(2_000_000))
    for path in ("/jobs", "/api/chat", "/v1/responses"):
        answer = daemon.http.post(path, content=b'{"model":"a",%b,%b}' % (NEVER, fields), headers=JSON)
        assert answer.status_code == 400
        assert f"more than {MOST_FIELDS} fields" in answer.text
