"""Schema versions: numbered SQL files applied in order, those that are missing in one transaction."""

from __future__ import annotations

import sqlite3
from importlib import resources

from foreman.domain.errors import StoreRefused


def steps() -> dict[int, str]:
    """Return this program's schema files by number."""
    folder = resources.files("foreman.store.sqlite").joinpath("schema")
    return {int(file.name[:4]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}


def bring_up_to_date(db: sqlite3.Connection, path: str) -> None:
    """Apply the missing schema versions, all or none. Raise StoreRefused when a newer Foreman wrote the file."""
    have = db.execute("PRAGMA user_version").fetchone()[0]
    known = steps()
    newest = max(known)
    if have > newest:
        raise StoreRefused(
            f"the database {path} has schema version {have}, this foreman knows up to {newest}: "
            "install a newer foreman or choose another data_dir"
        )
    if have == newest:
        return
    missing = "\n".join(known[number] for number in range(have + 1, newest + 1))
    db.execute("PRAGMA foreign_keys = OFF")  # or a step that makes a table anew would delete what refers to it
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{missing}\nPRAGMA user_version = {newest};\nCOMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    finally:
        db.execute("PRAGMA foreign_keys = ON")
