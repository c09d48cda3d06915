"""What the database of a fleet must hold after a round, and what its callers must have been told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg

from foreman.store.postgres.check import check
from tests.crash.batch_client import Asked
from tests.crash.batch_verdict import judge_batches
from tests.crash.clients import Feed, FleetAnswer
from tests.crash.verdict import Verdict, judge_events, judge_usage, judge_webhooks
from tests.support.receiver import Got

ENDS = "('done', 'failed', 'cancelled', 'expired')"
OWN = b"SELECT id, state, custom_id FROM jobs WHERE batch_id IS NULL"
TEXT = "convert_from(a.data, 'UTF8')"


def judge(url: str, told: FleetAnswer, got: Sequence[Got], feeds: Sequence[Feed], batches: Sequence[Asked]) -> Verdict:
    """Hold the database against what callers were told, and feeds and webhooks against the database."""
    found = Verdict()
    with psycopg.connect(url) as db:
        _judge_jobs(db, told, found)
        judge_events(db, told, found)
        judge_webhooks(db, told, got, found)
        judge_usage(db, told, found)
        _judge_feeds(db, feeds, found)
        judge_batches(db, partial(_blob, db), batches, found)
    for problem in check(url).problems:
        found.complain("illegal", problem)
    for words in told.odd:
        found.complain("illegal", words)
    return found


def _judge_jobs(db: psycopg.Connection[Any], told: FleetAnswer, found: Verdict) -> None:
    jobs = {job_id: (state, key) for job_id, state, key in db.execute(OWN)}
    for job_id, key in told.acknowledged.items():
        state, stored = jobs.get(job_id, ("missing", key))
        allowed = (
            {"cancelled"} if job_id in told.cancelled else {"done", "cancelled"} if job_id in told.cancels else {"done"}
        )
        if stored != key or state not in allowed:
            found.complain("lost", f"{key}, {job_id}, is {state}")
    for key, times in Counter(key for _, key in jobs.values()).items():
        if times > 1:
            found.complain("doubled", f"{key} is stored {times} times")
        if key in told.refused or key not in told.tried:
            found.complain("illegal", f"{key} is stored, and its caller was told that it is not")
    for job_id, state in ((job_id, state) for job_id, (state, _) in jobs.items() if job_id not in told.acknowledged):
        if state != "done":
            found.complain("lost", f"{job_id}, whose submission got no answer, is {state}")
    found.unacknowledged = len(jobs.keys() - told.acknowledged.keys())
    ends = f"SELECT job_id, count(*) FROM events WHERE state IN {ENDS} GROUP BY 1 HAVING count(*) > 1"
    for job_id, times in db.execute(ends.encode()):
        found.complain("doubled", f"{job_id} has ended {times} times")
    answers = f"SELECT j.id, j.custom_id, {TEXT} FROM jobs j JOIN artifacts a ON job_id = id WHERE name = 'completion'"
    for job_id, key, answer in db.execute(answers.encode()):
        if f"{key} says hello" not in answer:
            found.complain("illegal", f"the answer of {key} is another job's: {answer}")
        streamed = told.streamed.get(job_id)
        if streamed is not None and streamed.strip() not in answer:
            found.complain("illegal", f"{key} was streamed as {streamed!r}, stored is {answer}")


def _blob(db: psycopg.Connection[Any], digest: str, key: str) -> bytes:
    """Return the bytes of a blob, whose key alone says where they are."""
    rows = db.execute("SELECT data FROM blob_pieces WHERE key = %s ORDER BY position", (key,)).fetchall()
    return b"".join(data for (data,) in rows)


def _judge_feeds(db: psycopg.Connection[Any], feeds: Sequence[Feed], found: Verdict) -> None:
    """Each feed is the log: nothing is missing, twice or out of order."""
    log = db.execute("SELECT seq, job_id, state FROM events ORDER BY seq").fetchall()
    for feed in feeds:
        if feed.got == log:
            continue
        missing = {seq for seq, _, _ in log} - {seq for seq, _, _ in feed.got}
        odd = next((pair for pair in zip(feed.got, log, strict=False) if pair[0] != pair[1]), "its length")
        kind = "gaps" if missing else "illegal"
        found.complain(kind, f"the feed of {feed.node.name} lacks {sorted(missing)[:5]} of {len(log)} events: {odd}")
