"""The data folder: its lock, and the identity that this Foreman keeps there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from foreman.domain.errors import StoreRefused

LOCK = "foreman.lock"
IDENTITY = "node"


def hold(folder: Path) -> int:
    """Take the lock of a folder, made if it is missing, and return its descriptor; the kernel frees it with that.

    Raises:
        StoreRefused: Another Foreman holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreRefused(f"the data folder {folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StoreRefused(f"another foreman is using {folder}: stop it, or choose another data_dir") from error
    return handle


def identity(folder: Path, fresh: str) -> str:
    """Return the identity kept in a folder, which `fresh` becomes where there is none. Raise StoreRefused."""
    path = folder / IDENTITY
    try:
        if path.exists() and (known := path.read_text(encoding="ascii").strip()):
            return known
        path.write_text(fresh, encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise StoreRefused(f"{path} cannot be used: {error}") from error
    return fresh
