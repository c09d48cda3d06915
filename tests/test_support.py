"""The children that tests start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.foreman import ROOT, until

FORGETS = """
import os, sys
from tests.support.foreman import Child
code = "import time; print(1, flush=True); time.sleep(600)"
child = Child([sys.executable, "-c", code], env=os.environ, stream="stdout")
child.line(str)
print(child.pid, flush=True)
raise SystemExit(3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_that_nobody_closes_keeps_no_test_run_from_its_end() -> None:
    run = subprocess.run([sys.executable, "-c", FORGETS], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode == 3
    until(lambda: not is_there(int(run.stdout)))


def is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever takes in orphans may not have waited for it yet
