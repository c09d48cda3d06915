"""The ids of new jobs: ULIDs, each greater than the one before."""

from __future__ import annotations

import os
import time
from itertools import product
from threading import Lock

DRAWN = 256  # ids for which randomness is drawn at once: each draw lets other threads take the interpreter

_RANDOM = 10  # bytes of an id that are random
_PAIRS = ["".join(pair) for pair in product("0123456789ABCDEFGHJKMNPQRSTVWXYZ", repeat=2)]  # of Crockford's base 32
_SHIFTS = range(120, -1, -10)  # of the pairs in an id


class _Ids:
    """The numbers of ids (https://github.com/ulid/spec): 48 bits of milliseconds, then 80 random ones."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn = b""
        self._at = 0
        self._last = 0

    def next(self) -> int:
        with self._lock:
            now = time.time_ns() // 1_000_000
            if now > self._last >> 80:
                self._last = now << 80 | int.from_bytes(self._random(), "big")
            else:
                self._last += 1
            return self._last

    def _random(self) -> bytes:
        if self._at == len(self._drawn):
            self._drawn, self._at = os.urandom(DRAWN * _RANDOM), 0
        self._at += _RANDOM
        return self._drawn[self._at - _RANDOM : self._at]


_ids = _Ids()


def new_job_id() -> str:
    """Return an id that was never used."""
    number = _ids.next()
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
