"""GET /batches: the list as Foreman shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from foreman.domain.batches import Batch, LineFault
from foreman.http.batches import page
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.foreman import Daemon, Upstream, an_upstream, until

CHAT = "/v1/chat/completions"
FAULT = LineFault("duplicate_custom_id", "The custom_id is used before.", 2, "custom_id")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "openai") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Daemon]:
    folder: Path = tmp_path_factory.mktemp("batches") / "data"
    settings: dict[str, Any] = {"token": "alice:SECRET-A,bob:SECRET-B", "admin_token": "boss", "private_jobs": True}
    with Daemon(folder, openai_url=upstream.url, max_attempts=1, **settings) as daemon:
        yield daemon
        assert daemon.errors == []


def connect(daemon: Daemon, token: str) -> httpx2.Client:
    return httpx2.Client(base_url=daemon.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def made(daemon: Daemon) -> list[str]:
    """Ids of alice's batches, oldest first: two that are completed, one that failed."""
    with connect(daemon, "SECRET-A") as alice:
        return [start(alice, "hello"), start(alice, *["hello"] * 5, "#status=400"), start(alice, "twice", "twice")]


def start(http: httpx2.Client, *texts: str) -> str:
    """Make a batch, wait for its end and return its id; a text given as `twice` has the same custom_id each time."""
    lines = b"".join(
        json.dumps(
            {
                "custom_id": text if text == "twice" else str(number),
                "method": "POST",
                "url": CHAT,
                "body": {"model": "a", "messages": [{"role": "user", "content": text}]},
            }
        ).encode()
        + b"\n"
        for number, text in enumerate(texts)
    )
    file = http.post("/v1/files", files={"file": ("lines.jsonl", lines)}, data={"purpose": "batch"}).json()
    asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h", "metadata": {"of": "alice"}}
    batch_id: str = http.post("/v1/batches", json=asked).json()["id"]
    until(lambda: http.get(f"/batches/{batch_id}").json()["ended_at"])
    return batch_id


def test_batches_are_listed_newest_first_in_pages(daemon: Daemon, made: list[str]) -> None:
    with connect(daemon, "SECRET-A") as alice:
        whole = alice.get("/batches").json()
        assert [one["batch_id"] for one in whole["batches"]] == made[::-1]
        assert whole["next"] is None
        assert whole["batches"][1] == alice.get(f"/batches/{made[1]}").json()
        first = alice.get("/batches", params={"limit": 2}).json()
        assert [one["batch_id"] for one in first["batches"]] == made[:0:-1]
        last = alice.get("/batches", params={"limit": 2, "after": first["next"]}).json()
        assert ([one["batch_id"] for one in last["batches"]], last["next"]) == (made[:1], None)


@pytest.mark.parametrize("faults", [0, 600])
def test_a_page_has_fewer_batches_where_they_have_many_faults(tmp_path: Path, faults: int) -> None:
    with closing(SqliteWriter(tmp_path / "foreman.db")) as store:
        with store.transaction(100):
            for number in range(50):
                plain: dict[str, Any] = {"endpoint": CHAT, "input_file": "file-1", "input_blob": None}
                batch = Batch(id=f"batch_{number:02}", created_at=number, errors=(FAULT,) * faults, **plain)
                store.add_batch(batch)
        expected, pages = [f"batch_{number:02}" for number in range(49, -1, -1)], list[int]()
        after: str | None = None
        more = True
        while more:
            some, more = page(store, after=after, limit=45)
            assert [one.id for one in some] == expected[: len(some)]
            del expected[: len(some)]
            pages.append(len(some))
            after = some[-1].id if some else None
        assert not expected
        assert pages == ([20, 20, 10] if faults else [45, 5])


def test_a_state_filters_the_list(daemon: Daemon, made: list[str]) -> None:
    with connect(daemon, "SECRET-A") as alice:

        def found(state: str) -> list[str]:
            return [one["batch_id"] for one in alice.get("/batches", params={"state": state}).json()["batches"]]

        assert found("failed") == made[2:]
        assert found("in_progress") == []
        assert found("completed, in_progress") == [made[1], made[0]]


def test_a_listed_batch_has_its_speed_tokens_times_and_faults(daemon: Daemon, made: list[str]) -> None:
    with connect(daemon, "SECRET-A") as alice:
        failed, mixed, _ = alice.get("/batches").json()["batches"]
    assert (mixed["kind"], mixed["model"], mixed["done"], mixed["failed"], mixed["errors"]) == ("openai", "a", 5, 1, [])
    assert mixed["lines_per_minute"] > 0
    assert mixed["eta_seconds"] is None  # it has ended
    assert mixed["answer_tokens"] > 0
    assert list(mixed["times"]) == ["in_progress", "finalizing", "completed"]
    assert mixed["times"]["completed"] == mixed["ended_at"]
    assert set(mixed["links"]) == {"self", "cancel", "jobs", "results", "output", "errors"}
    assert (failed["state"], failed["lines_per_minute"]) == ("failed", None)
    assert [(one["code"], one["line"], one["param"]) for one in failed["errors"]] == [
        ("duplicate_custom_id", 2, "custom_id")
    ]


def test_results_are_saved_by_browsers_and_not_run(daemon: Daemon, made: list[str]) -> None:
    with connect(daemon, "SECRET-A") as alice:
        answer = alice.get(f"/batches/{made[1]}/results")
    assert len(answer.text.splitlines()) == 6
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{made[1]}_results.jsonl"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_batches_of_others_are_not_listed(daemon: Daemon, made: list[str]) -> None:
    with connect(daemon, "SECRET-B") as bob:
        assert bob.get("/batches").json() == {"batches": [], "next": None}
        assert bob.get("/batches", params={"after": made[2]}).json()["batches"] == []
    with connect(daemon, "boss") as boss:
        assert [one["owner"] for one in boss.get("/batches").json()["batches"]] == ["alice"] * 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"state": "running"}, "must be one of validating, failed"),
        ({"state": ""}, "must be one of"),
        ({"limit": "0"}, "must be a whole number from 1 to 500"),
        ({"after": "batch_1"}, "must be the `next` of the previous page"),
        ({"model": "a"}, "must be one of state, limit, after"),
    ],
)
def test_a_wrong_query_is_refused(daemon: Daemon, asked: dict[str, str], words: str) -> None:
    with connect(daemon, "SECRET-A") as alice:
        refused = alice.get("/batches", params=asked)
    assert refused.status_code == 422
    assert words in refused.json()["error"]
