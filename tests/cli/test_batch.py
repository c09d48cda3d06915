"""`foreman batch` against a real Foreman."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreman.client import Client
from tests.cli.conftest import App, Invoke, an_app
from tests.support.foreman import until

CHAT = "/v1/chat/completions"
UNKNOWN = "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("app"), kind="openai") as app:
        yield app


def request(custom_id: str, text: str = "hi", **more: object) -> str:
    body = {"model": "a", "messages": [{"role": "user", "content": text}]}
    return msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body} | more).decode()


def lines(*given: str) -> bytes:
    return "".join(f"{line}\n" for line in given).encode()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two good requests around one that the target refuses."""
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(lines(request("one"), request("bad", "#status=400"), request("two")))
    return path


def ended(app: App, *given: str) -> str:
    """The id of a batch that has ended."""
    with app.client() as client:
        return client.wait_batch(client.submit_batch(lines(*given)).batch_id).batch_id


def read(text: str) -> list[tuple[str, int]]:
    """The custom ids of results with their statuses."""
    found: list[dict[str, Any]] = [msgspec.json.decode(line) for line in text.splitlines()]
    return [(line["custom_id"], line["response"]["status_code"]) for line in found]


@pytest.mark.parametrize("from_pipe", [False, True])
def test_a_file_is_submitted_and_its_results_fetched(app: App, mixed: Path, from_pipe: bool) -> None:
    given = mixed.read_text() if from_pipe else None
    done = app.run("batch", "submit", "-" if from_pipe else str(mixed), given=given)
    assert done.returncode == 0
    assert done.stderr in ("", "validating: the input is being checked\n")
    batch_id, said = done.stdout.split("  ", 1)
    assert said.startswith(("in_progress: 3 lines", "finalizing: 3 lines", "completed: 3 lines"))
    shown = app.run("batch", "show", "--watch", batch_id)
    assert shown.returncode == 1, "one line has failed"
    assert "3 lines, 2 done, 1 failed\n" in shown.stdout
    found = app.run("batch", "results", batch_id)
    assert (found.returncode, found.stderr) == (0, "")
    assert read(found.stdout) == [("one", 200), ("bad", 400), ("two", 200)]


def test_submit_waits_for_the_end_if_told_to(app: App, tmp_path: Path, mixed: Path) -> None:
    done = app.run("batch", "submit", "--wait", str(mixed))
    assert done.returncode == 1
    assert done.stdout.endswith("  completed: 3 lines, 2 done, 1 failed\n")
    good = tmp_path / "good.jsonl"
    good.write_bytes(lines(request("one")))
    done = app.run("batch", "submit", "--wait", "--quiet", str(good), "--metadata", "of=me")
    assert (done.returncode, done.stderr) == (0, "")
    with app.client() as client:
        found = client.batch(done.stdout.strip())
    assert (found.state, found.done, found.metadata) == ("completed", 1, {"of": "me"})
    done = app.run("batch", "submit", "--wait", "--json", str(good))
    assert msgspec.json.decode(done.stdout)["done"] == 1


def test_what_is_wrong_with_lines_is_told_by_their_numbers(app: App, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_bytes(lines(request("one"), "{", request("one"), *("[]" for _ in range(20))))
    done = app.run("batch", "submit", str(path))
    assert (done.returncode, done.stdout) == (4, "")
    said = [line for line in done.stderr.splitlines() if "being checked" not in line]
    assert said[1] == f"{path}:3: The custom_id 'one' is used before. (duplicate_custom_id)"
    assert said[-2] == "… and 2 more; --json lists them all"
    assert said[-1].endswith(f" failed: nothing of {path} runs")
    with app.client() as client:
        batch_id = client.batches(state="failed", limit=1).batches[0].batch_id
    results = app.run("batch", "results", batch_id)
    assert (results.returncode, results.stdout) == (1, "")
    assert results.stderr.endswith(f"foreman: {batch_id} has no results: correct its input and submit it again\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "batch.jsonl has no lines"),
        ("\n \n", "batch.jsonl has no lines"),
        ("[1]\n", "the first line of batch.jsonl is no JSON object"),
        ("{}\n", "the first line of batch.jsonl is no request"),
    ],
)
def test_what_is_no_batch_is_wrong_usage(here: Invoke, given: str, said: str) -> None:
    result = here("batch", "submit", "-", given=given)
    assert result.exit_code == 2
    assert said in result.stderr
    assert 'must be a request of OpenAI\'s Batch API with "custom_id"' in result.stderr


def job(text: str = "hi", **more: object) -> str:
    return msgspec.json.encode(
        {"model": "a", "endpoint": CHAT, "messages": [{"role": "user", "content": text}]} | more
    ).decode()


def test_lines_as_of_post_jobs_make_a_batch_of_jobs(app: App, tmp_path: Path) -> None:
    path = tmp_path / "nightly.ndjson"
    path.write_bytes(lines(job("one", custom_id="first"), "", job("#status=400")))
    done = app.run("batch", "submit", str(path), "--wait")
    assert done.returncode == 1
    batch_id, said = done.stdout.split("  ", 1)
    assert said == "completed: 2 lines, 1 done, 1 failed\n"
    with app.client() as client:
        batch = client.batch(batch_id)
        assert (batch.kind, batch.name) == ("native", "nightly.ndjson")
        found = list(client.batch_results(batch_id))
    assert [(line["line"], line["custom_id"], line["state"]) for line in found] == [
        (1, "first", "done"),
        (2, None, "failed"),
    ]
    named = app.run("batch", "submit", "-", "--name", "mine", "--json", given=job("two"))
    assert (named.returncode, msgspec.json.decode(named.stdout)["name"]) == (0, "mine")


def test_bad_lines_of_jobs_are_refused_by_their_numbers(app: App, here: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "wrong.ndjson"
    path.write_bytes(lines(job("one"), "", "{", job("two", model="nothing")))
    result = here("batch", "submit", str(path))
    assert (result.exit_code, result.stdout) == (4, "")
    first, second, last = result.stderr.splitlines()
    assert first.startswith(f"{path}:3: ")
    assert second.startswith(f"{path}:4: model not found: the target has: ")
    assert last == f"foreman: 2 of the lines refused: nothing of {path} is stored"
    told = msgspec.json.decode(here("batch", "submit", str(path), "--json").stdout)
    assert (told["rejected"], [error["line"] for error in told["errors"]]) == (2, [3, 4])
    wrong = here("batch", "submit", str(path), "--metadata", "of=me")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "foreman: metadata does not go with wrong.ndjson: its lines are bodies of POST /jobs\n",
    )


def test_a_refused_batch_leaves_no_upload(app: App, here: Invoke, mixed: Path) -> None:
    def files() -> bytes:
        with app.client() as client:
            return client.request("GET", "/v1/files", params={"purpose": "batch"})

    before = files()
    result = here("batch", "submit", str(mixed), "--endpoint", "/v1/moderations")
    assert result.exit_code == 4
    assert result.stderr.startswith("foreman: endpoint: must be one of")
    assert files() == before
    assert "must be NAME=VALUE" in here("batch", "submit", str(mixed), "--metadata", "x").stderr


def test_batches_are_listed(app: App, here: Invoke) -> None:
    ids = [ended(app, request("one")), ended(app, request("one"), request("bad", "#status=400"))]
    assert here("batch", "list", "-n", "2", "--quiet").stdout.split() == ids[::-1]
    head, row, *_ = here("batch", "list", "-n", "1").stdout.splitlines()
    assert head.split() == ["ID", "STATE", "ENDED", "FAILED", "LEFT", "AGE", "KIND", "MODEL", "NAME"]
    assert row.split()[:4] == [ids[1], "completed", "2/2", "1"]
    page = msgspec.json.decode(here("batch", "list", "-n", "1", "--json").stdout)
    assert [one["batch_id"] for one in page["batches"]] == [ids[1]]
    assert here("batch", "list", "-n", "1", "-q", "--after", page["next"]).stdout.split() == [ids[0]]
    assert here("batch", "list", "--state", "expired").stderr == "no batches\n"


def test_one_is_shown_by_a_part_of_its_id(app: App, here: Invoke) -> None:
    batch_id = ended(app, request("one"))
    for name in (batch_id, batch_id.removeprefix("batch_"), batch_id[-8:].lower()):
        shown = here("batch", "show", name)
        assert shown.exit_code == 0
        assert f"batch       {batch_id}\n" in shown.stdout
        assert "lines       1 line, 1 done\n" in shown.stdout
    assert msgspec.json.decode(here("batch", "show", batch_id, "--json").stdout)["batch_id"] == batch_id
    unknown = here("batch", "show", "ZZZZZZZZ")
    assert (unknown.exit_code, unknown.stderr) == (
        4,
        "foreman: no batch ZZZZZZZZ: 'foreman batch list' shows all\n",
    )
    assert here("batch", "show", UNKNOWN).stderr == f"foreman: No batch found with id '{UNKNOWN}'.\n"
    with app.client() as client:
        begin = batch_id.removeprefix("batch_")[:6]
        several = len([one for one in client.batches(limit=500).batches if one.batch_id.startswith(f"batch_{begin}")])
    if several > 1:
        assert "may be any of" in here("batch", "show", begin).stderr


def test_batches_are_cancelled_and_others_reported(app: App, here: Invoke) -> None:
    old = ended(app, request("one"))
    with app.client() as client:
        slow = client.submit_batch(lines(*(request(str(n), "#silent") for n in range(20)))).batch_id
        result = here("batch", "cancel", old, slow)
        assert result.exit_code == 4
        assert result.stdout == f"{slow}  cancelling\n"
        assert "Cannot cancel a batch with status 'completed'." in result.stderr
        assert client.wait_batch(slow).cancelled == 20
    told = msgspec.json.decode(here("batch", "cancel", old, "--json").stdout)
    assert [error["code"] for error in told["errors"]] == ["batch_ended"]
    codes = [msgspec.json.decode(line)["error"]["code"] for line in here("batch", "results", slow).stdout.splitlines()]
    assert codes == ["batch_cancelled"] * 20


def test_results_are_written_whole_or_not_at_all(app: App, here: Invoke, tmp_path: Path) -> None:
    batch_id, path = ended(app, request("one", "a\u2028b #echo"), request("two")), tmp_path / "out.jsonl"
    path.write_text("before")
    result = here("batch", "results", batch_id, "--output", str(path))
    assert (result.exit_code, result.output) == (0, "")
    assert [custom_id for custom_id, _ in read(path.read_text())] == ["one", "two"]
    with app.client() as client:
        assert path.read_bytes() == client.request("GET", f"/batches/{batch_id}/results")
        client.request("DELETE", f"/v1/files/{client.batch(batch_id).links['output'].split('/')[3]}")
    result = here("batch", "results", batch_id, "--output", str(path))
    assert result.exit_code == 4
    assert [custom_id for custom_id, _ in read(path.read_text())] == ["one", "two"]
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_results_come_with_the_end(app: App, here: Invoke) -> None:
    with app.client() as client:
        batch_id = client.submit_batch(lines(request("one", "#silent"))).batch_id
        client_state = until(lambda: client.batch(batch_id).state == "in_progress")
        assert client_state
        result = here("batch", "results", batch_id)
        client.cancel_batch(batch_id)
    assert result.exit_code == 4
    assert result.stderr == (
        f"foreman: {batch_id} has not ended, it is in_progress: wait until it is completed, cancelled or expired\n"
    )


def test_ctrl_c_leaves_the_batch_alone(app: App, tmp_path: Path) -> None:
    path = tmp_path / "slow.jsonl"
    path.write_bytes(lines(request("one", "#silent")))
    with app.client() as client, app.begin("batch", "submit", "--wait", str(path)) as waiting:
        assert waiting.stderr is not None
        for line in waiting.stderr:
            if line.startswith("in progress"):
                break
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(60) == 130
        said = waiting.stderr.read()
        batch_id = client.batches(limit=1).batches[0].batch_id
        assert "the batch goes on without you: " in said
        assert said.endswith(f"batch show {batch_id} --watch\n")
        assert client.batch(batch_id).state == "in_progress"
        client.cancel_batch(batch_id)


def test_ids_are_completed(app: App, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    batch_id = ended(app, request("one"))
    for name, value in {
        "FOREMAN_URL": app.url,
        "FOREMAN_TOKEN": "open sesame",
        "_FOREMAN_COMPLETE": "bash_complete",
        "COMP_WORDS": f"foreman batch show {batch_id[:-1]}",
        "COMP_CWORD": "3",
    }.items():
        monkeypatch.setenv(name, value)
    assert invoke().stdout.split() == [f"plain,{batch_id}"]


def test_the_client_of_a_closed_port_says_where_it_looked() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Exception, match="no foreman at"):
        client.submit_batch(lines(request("one")))
