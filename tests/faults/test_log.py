"""A log that cannot be written: nobody reads it, its reader stands still, its disk is full."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from foreman import logs
from foreman.targets.managed.child_log import ChildLog
from tests.support.api import chat
from tests.support.foreman import ROOT, Upstream, until

LITTLE = 4096  # bytes of a pipe, so that few lines fill it
JOBS = 60  # each says more than a hundredth of that


class Logging:
    """A Foreman whose standard error is `descriptor`."""

    def __init__(self, folder: Path, upstream: Upstream, descriptor: int) -> None:
        self.database = folder / "foreman.db"
        given = {"ADDR": "127.0.0.1:0", "DATA_DIR": folder, "OLLAMA_URL": upstream.url, "LOG_FORMAT": "json"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
        env = clean | {f"FOREMAN_{name}": str(value) for name, value in given.items()}
        command = [sys.executable, "-m", "foreman", "serve"]
        self.process = subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=descriptor)

    def url(self) -> str:
        """Where it listens, from the kernel: its log may not say so."""
        return until(lambda: f"http://127.0.0.1:{port}" if (port := listening(self.process.pid)) else None) or ""

    def works(self, url: str) -> None:
        """Assert that it accepts jobs and runs them to their end."""
        with httpx2.Client(base_url=url, trust_env=False, timeout=30) as http:
            until(lambda: http.get("/readyz").status_code == 200)
            for _ in range(JOBS):
                accepted = http.post("/jobs", json=chat("hello"), headers={"Prefer": "wait=20"})
                assert accepted.json()["state"] == "done"

    def dropped(self, url: str) -> float:
        text = httpx2.get(f"{url}/metrics", trust_env=False).text
        return float(re.findall(r"^foreman_log_lines_dropped_total (\S+)", text, re.M)[0])


def listening(pid: int) -> int | None:
    """The TCP port on which a process listens."""
    try:
        links = [os.readlink(found) for found in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # a descriptor that was closed between the two looks
        return None
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and words[9] in mine:
            return int(words[1].rpartition(":")[2], 16)
    return None


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[[int], Logging]]:
    started: list[Logging] = []

    def begin(descriptor: int) -> Logging:
        started.append(Logging(tmp_path / "data", upstream, descriptor))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_full_disk_under_the_log_stops_nothing(start: Callable[[int], Logging]) -> None:
    with Path("/dev/full").open("wb") as full:
        foreman = start(full.fileno())
    url = foreman.url()
    foreman.works(url)
    assert foreman.dropped(url) >= JOBS
    foreman.process.terminate()
    assert foreman.process.wait(30) == 0


def test_a_log_whose_reader_has_gone_stops_nothing(start: Callable[[int], Logging]) -> None:
    reads, writes = os.pipe()
    foreman = start(writes)
    os.close(writes)
    url = foreman.url()
    os.close(reads)
    foreman.works(url)
    assert foreman.dropped(url) >= JOBS
    foreman.process.terminate()
    assert foreman.process.wait(30) == 0


def test_a_log_whose_reader_stands_still_blocks_nothing(start: Callable[[int], Logging]) -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, LITTLE)
    foreman = start(writes)
    os.close(writes)
    foreman.works(foreman.url())
    foreman.process.terminate()
    assert foreman.process.wait(30) == 0
    assert b"foreman serves" in os.read(reads, LITTLE)
    os.close(reads)


def test_lines_beyond_the_room_are_dropped_and_told_about_once_they_can_be() -> None:
    script = f"""
from foreman import logs
import structlog
lines = logs.configure("json", "info")
log = structlog.get_logger()
for number in range(3):
    log.info("x" * {logs.ROOM // 2})
print(logs.dropped(), flush=True)
input()
log.info("back")
lines.close(10)
"""
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin and process.stdout and process.stderr
        assert int(process.stdout.readline()) >= 1
        assert "x" * 1000 in process.stderr.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        said = process.stderr.read()
    assert '"log lines were dropped"' in said and '"back"' in said


def test_a_server_whose_log_cannot_be_written_is_still_heard(tmp_path: Path) -> None:
    before = logs.dropped()
    (tmp_path / "m.log").symlink_to("/dev/full")
    log = ChildLog(tmp_path, "m", "")
    log.write(b"one\ntwo\n")
    assert log.last_lines() == ["one", "two"]
    assert logs.dropped() == before + 2
    (tmp_path / "m.log").unlink()
    log.write(b"three\n")
    log.close()
    assert (tmp_path / "m.log").read_text() == "three\n"


def test_a_folder_that_cannot_be_made_costs_the_log_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    log = ChildLog(tmp_path / "logs", "m", "")
    log.write(b"one\n")
    log.close()
    assert log.last_lines() == ["one"]
