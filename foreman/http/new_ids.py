"""The ids of new jobs: ULIDs, each greater than the one before."""

from __future__ import annotations

import os

from ulid import ULIDGenerator
from ulid.constants import RANDOMNESS_LEN

DRAWN = 256  # ids for which randomness is drawn at once: each draw lets other threads take the interpreter


class _Randomness:
    def __init__(self) -> None:
        self._drawn = b""
        self._at = 0

    def __call__(self, timestamp: int) -> bytes:
        """Return the random part of an id."""
        if self._at == len(self._drawn):
            self._drawn, self._at = os.urandom(DRAWN * RANDOMNESS_LEN), 0
        self._at += RANDOMNESS_LEN
        return self._drawn[self._at - RANDOMNESS_LEN : self._at]


_generator = ULIDGenerator(randomness=_Randomness())


def new_job_id() -> str:
    """Return an id that was never used."""
    return str(_generator.generate())
