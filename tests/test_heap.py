"""Memory that is given back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOLED = """
import re, sys, threading
from contextlib import nullcontext
from pathlib import Path
from foreman.heap import trimmed_heap

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

blocks = [bytes(1000) for _ in range(100_000)]
full = resident()
del blocks[:-1]  # the last one keeps the heap from shrinking at its end
held = resident()
pause = threading.Event()
with trimmed_heap(every=0.01):
    for _ in range(1000):
        if resident() < full - 50_000:
            break
        pause.wait(0.01)
print(full - held, full - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_what_was_freed_in_the_middle_of_the_heap_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", HOLED], capture_output=True, text=True, timeout=60, check=True).stdout
    by_itself, given_back = map(int, said.split())  # KiB, of about 100,000
    assert by_itself < 50_000 < given_back
