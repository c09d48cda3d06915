"""The disk: full in the middle of things, and failing to sync."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.faults.conftest import Break
from tests.support.api import chat, state, submit
from tests.support.foreman import Daemon, Upstream, until

LARGE = "x" * 100_000
MIB = 2**20
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def submit_all(daemon: Daemon, count: int) -> list[httpx2.Response]:
    """The answers to so many large jobs that come together."""
    with daemon.client() as http, ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda n: http.post("/jobs", json=chat(f"{n} {LARGE}")), range(count)))


def judge(daemon: Daemon, make_full: Callable[[], object], make_room: Callable[[], object]) -> list[str]:
    """What was acknowledged before, while and after the disk is full, and is done now."""
    daemon.http.post("/queue/pause")  # a worker that meets a full disk rests for half a minute
    kept = [submit(daemon, "before")]
    make_full()
    answers = submit_all(daemon, 60)
    assert {answer.status_code for answer in answers} == {202, 507}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 507)
    kept += [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    assert {job["job_id"] for job in daemon.http.get("/jobs?limit=200").json()["jobs"]} == set(kept)
    make_room()
    kept.append(submit(daemon, f"after {LARGE}"))
    daemon.http.post("/queue/resume")
    until(lambda: {state(daemon, job_id) for job_id in kept} == {"done"})
    assert not daemon.errors
    return kept


def test_a_disk_that_is_full_for_a_while_refuses_what_does_not_fit_and_loses_nothing(serve: Break) -> None:
    daemon = serve("full")
    kept = judge(daemon, daemon.break_now, daemon.mend)
    daemon.kill()
    daemon.start()
    assert {state(daemon, job_id) for job_id in kept} == {"done"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder to mount a small disk on."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", str(folder)], check=False).returncode:
        pytest.skip("may not mount a file system of its own")
    return folder


def test_a_real_disk_that_is_full_for_a_while_does_the_same(small: Path, upstream: Upstream) -> None:
    daemon = Daemon(small / "data", ollama_url=upstream.url)
    mounted = f"mount -t tmpfs -o size=12m none {shlex.quote(str(small))} && exec {sys.executable} -m foreman serve"
    daemon.command = (*UNSHARE, "sh", "-c", mounted)
    with daemon:
        ballast = Path(f"/proc/{daemon.pid}/root{small}/ballast")
        judge(daemon, lambda: ballast.write_bytes(bytes(10 * MIB)), ballast.unlink)


@pytest.mark.parametrize("error", ["sync-lost", "sync-kept"])
def test_a_sync_that_fails_ends_the_process_and_nobody_is_told_what_it_does_not_know(serve: Break, error: str) -> None:
    daemon = serve(error)
    daemon.http.post("/queue/pause")
    kept = [submit(daemon, f"before {n}") for n in range(3)]
    daemon.break_now()

    def attempt(number: int) -> int | None:
        try:
            return http.post("/jobs", json=chat(f"never answered {number}")).status_code
        except httpx2.TransportError:
            return None

    with daemon.client() as http, ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(attempt, range(8)))
    assert 202 not in answers
    assert daemon.wait() == 1
    assert any("SQLITE_IOERR_FSYNC" in line for line in daemon.child.lines)
    daemon.start()
    daemon.http.post("/queue/resume")
    stored = [job["job_id"] for job in daemon.http.get("/jobs?limit=200").json()["jobs"]]
    assert set(stored) >= set(kept)
    assert (len(stored) > len(kept)) == (error == "sync-kept")
    until(lambda: {state(daemon, job_id) for job_id in stored} == {"done"})
    assert not daemon.errors
