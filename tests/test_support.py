"""The children that tests start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreman import ROOT, Daemon, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
NOBODY = "http://127.0.0.1:9"
FORGETS = """
import os, sys
from tests.support.foreman import Child
code = "import time; print(1, flush=True); time.sleep(600)"
child = Child([sys.executable, "-c", code], env=os.environ, stream="stdout")
child.line(str)
print(child.pid, flush=True)
raise SystemExit(3)
"""
FORGETS_FOREMAN = f"""
import os, pathlib, sys
from tests.support.foreman import Daemon
daemon = Daemon(pathlib.Path(sys.argv[1]), ollama_url={NOBODY!r}).start(ready=False)
daemon.child.line(str)
print(daemon.pid, flush=True)
"""


def test_a_child_that_nobody_closes_keeps_no_test_run_from_its_end() -> None:
    run = subprocess.run([sys.executable, "-c", FORGETS], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode == 3
    until(lambda: not is_there(int(run.stdout)))


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "os.kill(os.getpid(), 9)"])
def test_a_forked_foreman_does_not_outlive_the_tests(data_dir: Path, end: str) -> None:
    command = [sys.executable, "-c", FORGETS_FOREMAN + end, str(data_dir)]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode in (3, -9)
    until(lambda: not is_there(int(run.stdout)))


def test_a_forked_foreman_is_as_one_that_is_started(data_dir: Path) -> None:
    with Daemon(data_dir / "0", ollama_url=NOBODY) as forked:
        with Daemon(data_dir / "1", ollama_url=NOBODY, forked=False) as started:
            assert (is_forked(forked), is_forked(started)) == (True, False)
            assert looks(forked) == looks(started)
        assert os.getsid(forked.pid) == forked.pid


@pytest.mark.parametrize("forked", [True, False])
def test_a_foreman_ends_in_each_way(data_dir: Path, forked: bool) -> None:
    daemon = Daemon(data_dir, ollama_url=NOBODY, forked=forked)
    for number, code in (
        (signal.SIGTERM, 0),
        (signal.SIGINT, 0),
        (signal.SIGKILL, -9),
        (signal.SIGUSR1, -signal.SIGUSR1),
    ):
        daemon.start()
        assert daemon.child.running
        os.kill(daemon.pid, number)
        assert daemon.wait() == code
        assert is_there(daemon.pid) == daemon.child.running == False  # noqa: E712
    wrong = Daemon(data_dir, ollama_url=NOBODY, slots="none", forked=forked).start(ready=False)
    assert wrong.wait() == 2
    assert len(wrong.child.lines) == 1 and "slots" in wrong.child.lines[0]
    wrong.close()
    daemon.close()


def test_a_forked_foreman_has_no_setting_of_one_before_it(data_dir: Path) -> None:
    with Daemon(data_dir, ollama_url=NOBODY, token="hush", max_queue=7) as daemon:
        assert daemon.http.get("/metrics").status_code == 200
    with Daemon(data_dir, ollama_url=NOBODY) as daemon:
        assert is_forked(daemon)
        assert daemon.http.get("/queue").status_code == 200


def test_where_the_environment_is_another_the_program_itself_is_started(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUTF8", "1")
    with Daemon(data_dir, openai_url=NOBODY) as daemon:
        assert not is_forked(daemon)


def is_forked(daemon: Daemon) -> bool:
    return b"preloaded" in Path(f"/proc/{daemon.pid}/cmdline").read_bytes()


def looks(daemon: Daemon) -> dict[str, Any]:
    """What a process is given, and what it has made of it."""
    process = Path(f"/proc/{daemon.pid}")
    kinds = [re.sub(r"\d+", "N", os.readlink(found)) for found in (process / "fd").iterdir()]
    status = re.findall(r"^((?:Umask|SigIgn|SigBlk|SigCgt|Cpus_allowed):.*)", (process / "status").read_text(), re.M)
    return {
        "descriptors": sorted(kinds),
        "status": status,
        "limits": (process / "limits").read_text(),
        "folder": os.readlink(process / "cwd"),
    }


def is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever takes in orphans may not have waited for it yet
