"""What callers are told of how Foreman was used, through crashes, bursts and removals."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import NDJSON, chat, error, job, state, submit, submit_many, target_of
from tests.support.foreman import Daemon, Upstream, until

FIGURES = ("submitted", "done", "failed", "cancelled", "expired")


def usage(daemon: Daemon, **query: Any) -> list[dict[str, Any]]:
    answer = daemon.http.get("/usage", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


def total(daemon: Daemon, **query: Any) -> Counter[str]:
    """All rows of the last two hours in one, so that no turn of the clock is between."""
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = usage(daemon, **({"step": "hour", "from": since} | query))
    counts = [name for name in rows[0] if all(isinstance(row[name], int | float) for row in rows)]  # no percentiles
    return Counter({name: sum(row[name] for row in rows) for name in counts})


def finished(daemon: Daemon, text: str = "hello", **fields: Any) -> dict[str, Any]:
    answer = daemon.http.post("/jobs", json=chat(text, **fields), headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_every_minute_of_the_last_hour_has_a_row_and_the_last_one_is_under_way(daemon: Daemon) -> None:
    before = datetime.now(UTC)
    answer = daemon.http.get("/usage?step=minute").json()
    begins = [at(row["from"]) for row in answer["rows"]]
    assert begins == [begins[0] + timedelta(minutes=n) for n in range(60)]
    assert (at(answer["from"]), at(answer["to"])) == (begins[0], begins[-1] + timedelta(minutes=1))
    assert begins[-1] <= datetime.now(UTC) and at(answer["to"]) > before
    assert all(row["by"] is None and row["wait_p50"] is None for row in answer["rows"][:10])
    assert daemon.http.get("/usage").json()["step"] == "hour"
    assert (len(usage(daemon)), len(usage(daemon, step="day"))) == (24, 30)


def test_it_says_since_when_there_are_figures_and_a_restart_changes_nothing(upstream: Upstream, tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with Daemon(tmp_path, ollama_url=upstream.url) as daemon:
        since = daemon.http.get("/usage?step=minute").json()["since"]
        assert before <= at(since) <= datetime.now(UTC)
        daemon.kill()
        daemon.start()
        assert daemon.http.get("/usage?by=model").json()["since"] == since


def test_what_becomes_of_jobs_is_counted_by_caller_model_endpoint_and_target(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Daemon(tmp_path, ollama_url=upstream.url, token="alice:one,two", retry_backoff=0.01) as daemon:
        assert error(daemon.http.get("/usage", headers={"Authorization": ""})) == (401, "unauthorized")
        daemon.http.headers["Authorization"] = "Bearer one"
        done = finished(daemon)
        finished(daemon, "#status=400", model="b")
        daemon.http.headers["Authorization"] = "Bearer two"
        finished(daemon, "#status=500 #times=1 x", max_attempts=2)
        parked = submit(daemon, not_before="2090-01-01T00:00:00Z")
        assert [row["waiting"] for row in usage(daemon, step="minute")][-1] >= 1
        daemon.http.post(f"/jobs/{parked}/cancel")
        generated = {"model": "a", "prompt": "hello", "stream": False}
        assert daemon.http.post("/api/generate", json=generated).status_code == 200  # a job like any other

        sums = total(daemon)
        assert [sums[name] for name in FIGURES] == [5, 3, 1, 1, 0]
        result = done["result"]
        assert sums["prompt_tokens"] >= result["prompt_eval_count"] > 0
        assert sums["answer_tokens"] >= result["eval_count"] > 0
        assert sums["busy_seconds"] > 0 and sums["loads"] >= 2

        def by(name: str) -> dict[str, int]:
            found: Counter[str] = Counter()
            for row in usage(daemon, by=name):
                found[row["by"]] += row["submitted"]
                assert row["waiting"] is row["running"] is None
            return dict(found)

        assert by("caller") == {"alice": 2, "": 3}
        assert by("model") == {"a": 4, "b": 1}
        assert by("endpoint") == {"/api/chat": 4, "/api/generate": 1}
        assert by("target") == {done["target"]: 5} and target_of(done) == "ollama"


def test_only_one_name_is_told_of_where_one_is_asked_for(daemon: Daemon) -> None:
    finished(daemon, model="b")
    name = next(row["by"] for row in usage(daemon, step="day", by="model") if row["by"] in ("b", "b:latest"))
    before = total(daemon, model=name)
    finished(daemon, model="b")
    finished(daemon)
    assert total(daemon, model=name)["done"] == before["done"] + 1
    assert total(daemon, model="nobody's")["done"] == 0
    [row] = usage(daemon, step="day", model=name, by="endpoint", **{"from": datetime.now(UTC).isoformat()})
    assert (row["by"], row["waiting"]) == ("/api/chat", None)
    assert usage(daemon, step="day", model=name)[-1]["waiting"] is None


def test_three_thousand_jobs_at_once_are_all_counted_and_so_is_the_most_that_waited(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Daemon(tmp_path, ollama_url=upstream.url) as daemon:
        daemon.http.post("/queue/pause")
        submit_many(daemon, [chat(f"{n}") for n in range(3000)])
        assert total(daemon)["submitted"] == 3000
        assert max(row["waiting"] for row in usage(daemon, step="minute")) == 3000
        daemon.kill()
        daemon.start()
        assert usage(daemon, step="minute")[-1]["waiting"] == 3000
        assert max(row["running"] for row in usage(daemon, step="minute")) == 0


def test_a_kill_in_the_middle_of_things_loses_nothing_and_counts_nothing_twice(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Daemon(tmp_path, ollama_url=upstream.url, slots=2, retry_backoff=0.01) as daemon:
        lines = [chat("#status=400" if n % 5 == 0 else f"#slow=0.02 {n}", max_attempts=20) for n in range(60)]
        ids = submit_many(daemon, lines)
        for share in (0.2, 0.6):
            until(lambda share=share: total(daemon)["done"] >= share * 48)  # type: ignore[misc]
            daemon.kill()
            daemon.start()
        until(lambda: all(state(daemon, one) in ("done", "failed") for one in ids))
        sums = total(daemon)
        assert [sums[name] for name in FIGURES] == [60, 48, 12, 0, 0]
        for one in ids[:10]:
            daemon.http.delete(f"/jobs/{one}")
        minutes = usage(daemon, step="minute")
        assert total(daemon) == sums
        assert sum(row["done"] for row in minutes) == 48
        assert (minutes[-1]["waiting"], minutes[-1]["running"]) <= (60, 2)


def test_a_job_that_is_tried_again_by_hand_counts_again(daemon: Daemon) -> None:
    before = total(daemon)
    failed = finished(daemon, "#status=400 #times=1 by hand")
    daemon.http.post(f"/jobs/{failed['job_id']}/retry")
    until(lambda: job(daemon, failed["job_id"])["state"] == "done")
    after = total(daemon)
    assert {name: after[name] - before[name] for name in ("submitted", "failed", "done")} == {
        "submitted": 2,
        "failed": 1,
        "done": 1,
    }


def test_a_refused_submission_is_not_counted(daemon: Daemon) -> None:
    before = total(daemon)["submitted"]
    key = {"Idempotency-Key": f"usage-{before}"}
    asked = chat("once", not_before="2090-01-01T00:00:00Z")
    first, again = (daemon.http.post("/jobs", json=asked, headers=key).json()["job_id"] for _ in range(2))
    assert first == again
    assert daemon.http.post("/jobs", json=chat(model="nobody has it")).status_code == 404
    daemon.http.post("/jobs", content=b'{"model": "a"}\n{"model": 7}\n', headers=NDJSON)
    assert total(daemon)["submitted"] == before + 2
    daemon.http.post(f"/jobs/{first}/cancel")


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("step=week", "minute, hour, day"),
        ("by=owner", "model, caller, target, endpoint"),
        ("from=yesterday", "RFC 3339"),
        ("from=2090-01-01T00:00:00Z", "must be before"),
        ("to=2001-01-01T00:00:00Z&from=2001-01-02T00:00:00Z", "oldest kept"),
        ("to=0001-01-01T00:00:00Z", "oldest kept"),
        ("step=minute&from={two days ago}", "or later, the oldest kept, or use step=hour"),
        ("step=hour&from={100 days ago}", "at most 1500 steps"),
        ("step=day&from=2020-01-01T00:00:00Z", "or later, the oldest kept"),
        ("steps=3", "by, from, to, step"),
        ("step=hour&step=day", "given once"),
        ("model=a%00b", "without NUL"),
        (f"caller={'x' * 257}", "at most 256 characters"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_can(daemon: Daemon, query: str, allowed: str) -> None:
    for days, word in ((2, "two"), (100, "100")):
        ago = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = query.replace(f"{{{word} days ago}}", ago)
    answer = daemon.http.get(f"/usage?{query}")
    assert error(answer) == (422, "field_invalid")
    assert allowed in answer.json()["error"]


def test_hours_are_kept_as_long_as_the_setting_says(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path, ollama_url=upstream.url, usage_history="1 h") as daemon:
        finished(daemon)
        assert total(daemon)["done"] == 1
        ago = (datetime.now(UTC) - timedelta(days=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert error(daemon.http.get(f"/usage?from={ago}")) == (422, "field_invalid")
        assert len(usage(daemon, step="day")) in (2, 3)


def test_what_jobs_cost_is_told_by_the_setting(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path, ollama_url=upstream.url, cost={"b": {"output": 1_000_000, "input": 0}}) as daemon:
        finished(daemon)
        finished(daemon, "#chunks=7", model="b")
        costs = {row["by"]: row["cost"] for row in usage(daemon, step="day", by="model") if row["done"]}
        written = total(daemon, model="b")["answer_tokens"]
        assert costs == {"a": None, "b": written} and written
        assert usage(daemon, step="day")[-1]["cost"] == written
