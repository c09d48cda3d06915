"""The demo, with the real model: what it shows, and that nothing stays."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, environment

pytest.importorskip("xllamacpp")

DEMO = [sys.executable, "-m", "foreman", "demo"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_demo_shows_each_state_once_in_order_and_an_answer_and_leaves_nothing(tmp_path: Path) -> None:
    env = environment(TMPDIR=str(tmp_path), FOREMAN_OLLAMA_URL="http://127.0.0.1:9")
    done = subprocess.run(DEMO, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    states = re.findall(r"^(queued|loading|working|done) ", done.stdout, re.MULTILINE)
    assert states == ["queued", "loading", "working", "done"]
    answer = done.stdout.partition("\nworking ")[2].partition("\n")[2].partition("\ndone ")[0]
    assert re.search(r"\w+ \w+", answer)
    assert "A real answer through a durable queue" in done.stdout
    following = done.stdout.partition("Next:\n")[2]
    for line in ("foreman serve", "http://127.0.0.1:8080", "foreman submit", "foreman watch", "FOREMAN_OLLAMA_URL="):
        assert line in following
    assert list(tmp_path.iterdir()) == []
    assert left_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: int, code: int) -> None:
    with subprocess.Popen(DEMO, cwd=ROOT, env=environment(TMPDIR=str(tmp_path)), stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith(b"loading"):
            assert demo.poll() is None
        demo.send_signal(number)
        assert demo.wait(60) == code
    deadline = time.monotonic() + 60  # a killed demo's leash needs a moment
    while left_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_of(tmp_path) == []


def left_of(marked: Path) -> list[str]:
    """The processes that were started with this temporary folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={marked}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
