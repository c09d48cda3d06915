"""What the database and the folder of blobs must hold of batches after a round."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from foreman.store import integrity
from foreman.store.blob_folder import BLOBS, BlobFolder
from tests.crash.batch_client import ENDED, Asked, digest
from tests.crash.verdict import StaticAnswer, Verdict, judge_events, judge_usage

CODES = ("batch_cancelled", "batch_expired")


Read = Callable[[str, str], bytes]  # the bytes of a blob, by digest and key


def judge(database: Path, asked: Sequence[Asked], gone: Collection[int], told: StaticAnswer) -> Verdict:
    """Hold the database and the blobs against what clients were told; batches with numbers in `gone` are pruned."""
    found, folder = Verdict(), database.parent
    with closing(sqlite3.connect(database)) as db:
        judge_batches(db, reader(folder), [one for one in asked if one.number not in gone], found)
        stored = {row["id"] for row in _rows(db, "batches")}
        for one in asked:
            if one.number in gone and one.batch_id in stored:
                found.complain("illegal", f"batch {one.number} is past its time and was not pruned")
        judge_events(db, told, found)
        judge_usage(db, told, found)
    for name in orphans(folder):
        found.complain("illegal", f"{name} in the folder of blobs is in no row")
    for problem in integrity.check(database).problems:
        found.complain("illegal", problem)
    return found


def judge_batches(db: Any, read: Read, asked: Sequence[Asked], found: Verdict) -> None:
    """Each batch is there once, has ended as it may, and has each of its lines in one of its files, once.

    Each upload that was acknowledged is there, and each blob is whole.
    """
    stored = _Stored(db, read)
    for one in asked:
        rows = stored.batches.get(str(one.number), [])
        name = f"batch {one.number}, which {one.fate},"
        if len(rows) > 1:
            found.complain("doubled", f"{name} is stored {len(rows)} times")
        if one.batch_id is not None and one.batch_id not in [row["id"] for row in rows]:
            found.complain("lost", f"{name} was acknowledged as {one.batch_id} and is not stored")
        for row in rows:
            _judge_end(one, row, name, found)
            if one.fate != "is invalid":  # then none of its lines is a request
                _judge_lines(stored, one, row, name, found)
        if one.file_id is not None and not one.deleting and one.file_id not in stored.files:
            found.complain("lost", f"the input of {name} was acknowledged and is not stored")
        for file in stored.files.values():
            if file["filename"] == f"{one.number}.jsonl" and file["blob"] != digest(one.data):
                found.complain("illegal", f"the file {file['id']} is not what was uploaded for {name}")
    for blob in stored.blobs.values():
        data = read(blob["digest"], blob["key"])
        if len(data) != blob["size"] or digest(data) != blob["digest"]:
            found.complain("lost", f"the blob {blob['digest']} has {len(data)} of {blob['size']} bytes")
    for job in stored.jobs:
        if job["batch_id"] is not None and job["batch_id"] not in stored.ids:
            found.complain("illegal", f"{job['id']} is left of a batch that was pruned")


class _Stored:
    """What a database has of batches."""

    def __init__(self, db: Any, read: Read) -> None:
        self.read = read
        self.batches = dict[str, list[dict[str, Any]]]()  # by the number that their clients gave them
        for row in _rows(db, "batches"):
            self.batches.setdefault(json.loads(row["metadata"])["number"], []).append(row)
        self.ids = {row["id"] for rows in self.batches.values() for row in rows}
        self.files = {row["id"]: row for row in _rows(db, "files")}
        self.blobs = {row["digest"]: row for row in _rows(db, "blobs")}
        self.jobs = _rows(db, "jobs", "id, batch_id")


def _rows(db: Any, table: str, columns: str = "*") -> list[dict[str, Any]]:
    cursor = db.execute(f"SELECT {columns} FROM {table}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _judge_end(asked: Asked, row: Any, name: str, found: Verdict) -> None:
    allowed = {"failed"} if asked.fate == "is invalid" else {"completed"}
    if asked.may_expire:  # also before its input is checked
        allowed.add("expired")
    if asked.cancels:
        allowed = {"cancelled"} if asked.cancelled else {*allowed, "cancelled"}
    if row["state"] not in allowed:
        found.complain("lost" if row["state"] not in ENDED else "illegal", f"{name} is {row['state']}")
    counts = [row[kind] for kind in ("completed", "failed", "cancelled", "expired")]
    total = 0 if asked.fate == "is invalid" else len(asked.lines)
    if not row["total"] == total == sum(counts):
        found.complain("illegal", f"{name} has the counts {counts} of {row['total']}")


def _judge_lines(stored: _Stored, asked: Asked, row: Any, name: str, found: Verdict) -> None:
    output, errors = (_read(stored, row[kind], name, found) for kind in ("output_file", "error_file"))
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


def _read(stored: _Stored, file_id: str | None, name: str, found: Verdict) -> list[Any]:
    """Return the lines of a file; its bytes are those that its row tells of."""
    if file_id is None:
        return []
    file = stored.files.get(file_id)
    blob = stored.blobs.get(file["blob"]) if file else None
    if file is None or blob is None:
        found.complain("lost", f"the file {file_id} of {name} is not stored")
        return []
    data = stored.read(blob["digest"], blob["key"])
    if not len(data) == file["size"] == blob["size"] or digest(data) != blob["digest"]:
        found.complain("lost", f"the file {file_id} of {name} has {len(data)} bytes, its rows say {file} and {blob}")
    return [json.loads(line) for line in data.splitlines()]


def reader(folder: Path) -> Read:
    """Return a function that reads blobs beside a database."""

    def read(name: str, key: str) -> bytes:
        path = folder / BLOBS / f"{name}.{key}"
        return path.read_bytes() if path.exists() else b""

    return read


def orphans(folder: Path) -> list[str]:
    """Return the files of blobs that no row names, also unfinished ones."""
    with closing(sqlite3.connect(f"file:{folder / 'foreman.db'}?mode=ro", uri=True, timeout=10)) as db:
        named = {key for (key,) in db.execute("SELECT key FROM blobs")}
    files = BlobFolder(folder / BLOBS).files()
    return [os.fspath(path.name) for key, path in files.items() if key not in named]
