"""Trio's order of tasks, the same each time for a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from trio._core import _run as scheduler


@contextmanager
def same_order(seed: int) -> Iterator[None]:
    """Have Trio, which shuffles what can run, do it alike for a seed."""
    before, shuffled = random.getstate(), scheduler._r.getstate()
    random.seed(seed)
    scheduler._r.seed(seed)
    try:
        with patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
            yield
    finally:
        random.setstate(before)
        scheduler._r.setstate(shuffled)
