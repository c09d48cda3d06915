"""Lists of jobs, and what happened to a job: against a real Foreman."""

from __future__ import annotations

from pathlib import Path

import msgspec

from foreman.client import Client
from tests.cli.conftest import App, Invoke
from tests.cli.test_job_actions import LATER, UNKNOWN

FAILS_ONCE = "falls once #status=502 #times=1"


def ended(client: Client, text: str) -> str:
    job_id = client.submit("a", text, priority="high").job_id
    client.wait(job_id)
    return job_id


def test_words_are_searched_for_where_jobs_are_indexed(here: Invoke) -> None:
    for command in (("jobs", "--search", "hi"), ("cancel", "--search", "hi", "--yes")):
        done = here(*command)
        assert (done.exit_code, done.stdout) == (4, ""), done
        assert "q: requests and answers are not indexed" in done.stderr


def test_its_history_tells_each_attempt_and_what_went_wrong(app: App, here: Invoke) -> None:
    with app.client() as client:
        job_id = ended(client, FAILS_ONCE)
    done = here("history", job_id)
    assert (done.exit_code, done.stderr) == (0, "")
    states = [line.split()[2] for line in done.stdout.splitlines()]
    assert [state for state in states if state != "loading"] == ["queued", "working", "queued", "working", "done"]
    (failed,) = (line for line in done.stdout.splitlines() if "failed" in line)
    assert "attempt 1 took" in failed
    assert "told to by falls once" in failed
    shown = msgspec.json.decode(here("history", "--json", job_id).stdout)
    assert [event["state"] for event in shown["events"]] == states
    assert [(told["attempt"], told["outcome"]) for told in shown["attempts"]] == [(1, "queued"), (2, "done")]


def test_its_history_follows_a_job_to_its_end(app: App, here: Invoke) -> None:
    with app.client() as client:
        job_id = client.submit("a", "hi #stall", priority="high").job_id
    with app.begin("history", "--follow", job_id) as following:
        assert following.stdout is not None
        while "working" not in following.stdout.readline():
            pass
        assert here("cancel", "-q", job_id).stdout == f"{job_id}\n"
        assert "cancelled" in following.stdout.read()
        assert following.wait(60) == 1
    waited = app.run("history", "--follow", "--quiet", job_id)
    assert (waited.returncode, waited.stdout, waited.stderr) == (1, "", "")
    lines = app.run("history", "--follow", "--json", job_id).stdout.splitlines()
    assert [msgspec.json.decode(line)["state"] for line in lines][-1] == "cancelled"


def test_the_history_of_a_job_that_is_none(here: Invoke) -> None:
    done = here("history", UNKNOWN)
    assert (done.exit_code, done.stdout, done.stderr) == (4, "", f"foreman: job not found: {UNKNOWN}\n")


def test_logs_are_what_a_job_said(app: App, here: Invoke) -> None:
    with app.client() as client:
        lines = ended(client, "one\ntwo\nthree #echo")
        job_id = client.submit("a", "once upon a time #echo #stall", priority="high").job_id
        stands = client.submit("a", "hi", payload={"not_before": LATER}).job_id
        bad, vectors = ended(client, "bad #status=400"), client.run("a", input="hi", endpoint="/api/embed").job_id
    assert here("logs", lines).stdout.split() == ["one", "two", "three", "#echo"]
    assert here("logs", "--tail", "0", lines).stdout == ""
    chunks = [msgspec.json.decode(line) for line in here("logs", "--json", lines).stdout.splitlines()]
    assert chunks[-1]["message"]["content"].startswith("one")
    failed = here("logs", bad)
    assert (failed.exit_code, failed.stdout) == (0, "")
    assert "failed: told to by bad" in failed.stderr
    assert here("logs", "-f", bad).exit_code == 1
    assert "embeddings" in here("logs", vectors).stdout
    waits = here("logs", stands)
    assert (waits.exit_code, waits.stdout, waits.stderr) == (0, "", "queued: --follow goes on with what comes\n")
    with app.begin("logs", "--follow", "--tail", "1", job_id) as following:
        assert following.stdout is not None
        assert following.stdout.read(9) == "once upon"
        so_far = here("logs", job_id)
        assert (so_far.exit_code, so_far.stdout) == (0, "once upon \n")
        assert here("cancel", "-q", job_id, stands).exit_code == 0
        assert following.wait(60) == 1


def test_jobs_of_one_caller_are_listed(app: App, here: Invoke) -> None:
    head = {"X-Foreman-Caller": "ann"}
    body = {"model": "a", "messages": [], "not_before": LATER}
    job_id = app.daemon.http.post("/jobs", headers=head, json=body).json()["job_id"]
    assert here("jobs", "--caller", "ann", "--quiet").stdout.split() == [job_id]
    assert here("cancel", job_id).exit_code == 0


def test_jobs_are_exported(app: App, here: Invoke) -> None:
    with app.client() as client:
        ids = [
            client.submit("a", "\x9b31m hi", payload={"not_before": LATER, "metadata": {"of": "export"}}).job_id
            for _ in range(2)
        ][::-1]
    lines = here("jobs", "--export", "ndjson", "--metadata", "of=export")
    assert [msgspec.json.decode(line)["job_id"] for line in lines.stdout.splitlines()] == ids
    assert (lines.stderr, "\x9b" in lines.stdout) == ("2 jobs\n", False)
    table = here("jobs", "--export", "csv", "--metadata", "of=export", "-n", "1")
    assert [line.partition(",")[0] for line in table.stdout.splitlines()] == ["job_id", ids[0]]
    assert table.stderr == "1 job\n"
    assert here("jobs", "--export", "csv", "--json").exit_code == 2
    assert here("rm", *ids).exit_code == 2 or here("cancel", *ids).exit_code == 0


def test_quiet_prints_ids_and_nothing_else(app: App, here: Invoke, tmp_path: Path) -> None:
    done = app.run("submit", "-q", "-m", "a", "-p", "high", "hi")
    job_id = done.stdout.strip()
    assert (done.returncode, done.stderr, len(job_id)) == (0, "", 26)
    assert here("jobs", "--quiet", "--limit", "1").stdout.strip() == job_id
    assert here("deliveries", "--quiet", job_id).stdout == ""
    assert here("rm", "--quiet", job_id, UNKNOWN).stdout == f"{job_id}\n"
    line = msgspec.json.encode({"model": "a", "messages": [], "not_before": LATER}).decode()
    stored = here("submit", "--quiet", "--file", "-", given=f"{line}\n{{}}\n{line}")
    assert (stored.exit_code, [len(word) for word in stored.stdout.split()]) == (4, [26, 26])
    failed = app.run("submit", "-q", "-m", "a", "-p", "high", "bad #status=400")
    assert (failed.returncode, len(failed.stdout)) == (1, 27)
