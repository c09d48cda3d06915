"""The flush of a file to the disk itself."""

from __future__ import annotations

import fcntl
import os

# macOS only (fcntl(2) there): its fsync leaves the data in the cache of the drive, which a power failure empties.
_FULL = getattr(fcntl, "F_FULLFSYNC", None)


def flush(handle: int) -> None:
    """Return when what was written to an open file or folder would outlive a power failure. Raise OSError."""
    if _FULL is not None:
        try:
            fcntl.fcntl(handle, _FULL)
            return
        except OSError:  # a file system without it, such as a share of another machine
            pass
    os.fsync(handle)
