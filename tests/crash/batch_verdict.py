"""What the database and the folder of blobs must hold of batches after a round."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from foreman.store import integrity
from foreman.store.blob_folder import BLOBS, BlobFolder
from tests.crash.batch_client import ENDED, Asked, digest
from tests.crash.verdict import StaticAnswer, Verdict, judge_events, judge_usage

CODES = ("batch_cancelled", "batch_expired")


def judge(database: Path, asked: Sequence[Asked], gone: Collection[int], told: StaticAnswer) -> Verdict:
    """Hold the database and the blobs against what clients were told; batches with numbers in `gone` are pruned."""
    found = Verdict()
    with closing(sqlite3.connect(database)) as db:
        for one in asked:
            if one.number not in gone:
                judge_batch(db, database.parent, one, found)
            elif db.execute("SELECT 1 FROM batches WHERE id = ?", (one.batch_id,)).fetchall():
                found.complain("illegal", f"batch {one.number} is past its time and was not pruned")
        left = db.execute("SELECT id FROM jobs WHERE batch_id NOT IN (SELECT id FROM batches)").fetchall()
        for (job_id,) in left:
            found.complain("illegal", f"{job_id} is left of a batch that was pruned")
        _judge_files(db, database.parent, asked, found)
        judge_events(db, told, found)
        judge_usage(db, told, found)
    for problem in integrity.check(database).problems:
        found.complain("illegal", problem)
    return found


def judge_batch(db: sqlite3.Connection, folder: Path, asked: Asked, found: Verdict) -> None:
    """A batch is there once, has ended as it may, and has each of its lines in one of its files, once."""
    db.row_factory = sqlite3.Row
    rows = db.execute("SELECT * FROM batches WHERE metadata ->> 'number' = ?", (str(asked.number),)).fetchall()
    db.row_factory = None
    name = f"batch {asked.number}, which {asked.fate},"
    if len(rows) > 1:
        found.complain("doubled", f"{name} is stored {len(rows)} times")
    if asked.batch_id is not None and asked.batch_id not in [row["id"] for row in rows]:
        found.complain("lost", f"{name} was acknowledged as {asked.batch_id} and is not stored")
    for row in rows:
        _judge_end(asked, row, name, found)
        if row["state"] != "failed":
            _judge_lines(db, folder, asked, row, name, found)


def _judge_end(asked: Asked, row: Any, name: str, found: Verdict) -> None:
    allowed = {"failed"} if asked.fate == "is invalid" else {"completed"}
    if asked.may_expire and allowed != {"failed"}:
        allowed.add("expired")
    if asked.cancels:
        allowed = {"cancelled"} if asked.cancelled else {*allowed, "cancelled"}
    if row["state"] not in allowed:
        found.complain("lost" if row["state"] not in ENDED else "illegal", f"{name} is {row['state']}")
    counts = [row[kind] for kind in ("completed", "failed", "cancelled", "expired")]
    total = 0 if row["state"] == "failed" else len(asked.lines)
    if not row["total"] == total == sum(counts):
        found.complain("illegal", f"{name} has the counts {counts} of {row['total']}")


def _judge_lines(db: sqlite3.Connection, folder: Path, asked: Asked, row: Any, name: str, found: Verdict) -> None:
    output, errors = (_read(db, folder, row[kind], name, found) for kind in ("output_file", "error_file"))
    times = Counter(line["custom_id"] for line in [*output, *errors])
    for custom_id in asked.lines.keys() - times.keys():
        found.complain("lost", f"{custom_id} of {name} is in no file")
    for custom_id, count in times.items():
        if count > 1:
            found.complain("doubled", f"{custom_id} of {name} is {count} times in its files")
        if custom_id not in asked.lines:
            found.complain("illegal", f"{custom_id} is in the files of {name}")
    if [row["completed"], sum(row[kind] for kind in ("failed", "cancelled", "expired"))] != [len(output), len(errors)]:
        found.complain("illegal", f"{name} counts other lines than its {len(output)} answers and {len(errors)} errors")
    answered = [line["custom_id"] for line in output]
    if row["state"] == "completed" and answered != asked.good:
        found.complain("lost", f"{name} has answers of {answered}")
    for line in output:
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        if not said.startswith(f"{line['custom_id']} says hello"):
            found.complain("illegal", f"{line['custom_id']} of {name} has the answer {said[:80]!r}")
    for line in errors:
        status = line["response"]["status_code"] if line["response"] else line["error"]["code"]
        expected = {"bad": 400, "unknown": 404}.get(asked.lines.get(line["custom_id"], ""))
        if status not in (expected, *(CODES if row["state"] != "completed" else ())):
            found.complain("illegal", f"{line['custom_id']} of {name} failed with {status}")


def _read(db: sqlite3.Connection, folder: Path, file_id: str | None, name: str, found: Verdict) -> list[Any]:
    """Return the lines of a file; its bytes are those that its row tells of."""
    if file_id is None:
        return []
    stored = db.execute(
        "SELECT f.size, b.size, b.digest, b.key FROM files f JOIN blobs b ON digest = blob WHERE id = ?", (file_id,)
    ).fetchone()
    if stored is None:
        found.complain("lost", f"the file {file_id} of {name} is not stored")
        return []
    data = _bytes(folder, *stored[2:])
    if not len(data) == stored[0] == stored[1] or digest(data) != stored[2]:
        found.complain("lost", f"the file {file_id} of {name} has {len(data)} bytes, its row says {stored}")
    return [json.loads(line) for line in data.splitlines()]


def _bytes(folder: Path, name: str, key: str) -> bytes:
    path = folder / BLOBS / f"{name}.{key}"
    return path.read_bytes() if path.exists() else b""


def _judge_files(db: sqlite3.Connection, folder: Path, asked: Sequence[Asked], found: Verdict) -> None:
    """Each upload that was acknowledged is there whole, and the folder has what is in rows and nothing else."""
    inputs = {f"{one.number}.jsonl": one for one in asked}
    stored = dict(db.execute("SELECT id, filename FROM files WHERE purpose = 'batch'").fetchall())
    for one in asked:
        if one.file_id is not None and not one.deleting and one.file_id not in stored:
            found.complain("lost", f"the input of batch {one.number} was acknowledged and is not stored")
    for file_id, name in stored.items():
        if name in inputs and [digest(inputs[name].data)] != [
            blob for (blob,) in db.execute("SELECT blob FROM files WHERE id = ?", (file_id,))
        ]:
            found.complain("illegal", f"the file {file_id} is not what was uploaded as {name}")
    for name, key, size in db.execute("SELECT digest, key, size FROM blobs").fetchall():
        data = _bytes(folder, name, key)
        if len(data) != size or digest(data) != name:
            found.complain("lost", f"the blob {name} has {len(data)} of {size} bytes")
    for name in orphans(folder):
        found.complain("illegal", f"{name} in the folder of blobs is in no row")


def orphans(folder: Path) -> list[str]:
    """Return the files of blobs that no row names, also unfinished ones."""
    with closing(sqlite3.connect(f"file:{folder / 'foreman.db'}?mode=ro", uri=True, timeout=10)) as db:
        named = {key for (key,) in db.execute("SELECT key FROM blobs")}
    files = BlobFolder(folder / BLOBS).files()
    return [os.fspath(path.name) for key, path in files.items() if key not in named]
