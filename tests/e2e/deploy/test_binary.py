"""The single executable: alone in an empty folder, with an empty environment. `make binary` runs these."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.e2e.deploy.test_systemd import Hears
from tests.support.api import chat
from tests.support.foreman import Child, Daemon, an_upstream, until
from tests.support.postgres import Servers

ENGINE_START = 120.0  # seconds for a job on the embedded engine, on a busy machine
OTHER = """
import json, os, threading
print(json.dumps({"pid": os.getpid(), "env": dict(os.environ)}), flush=True)
threading.Event().wait()
"""


class Binary(Daemon):
    """`foreman serve` of the executable: nothing of this environment reaches it but where to unpack itself."""

    def __init__(
        self, binary: Path, data_dir: Path, environment: Mapping[str, str] = MappingProxyType({}), **settings: object
    ) -> None:
        super().__init__(data_dir, **settings)
        self.command = [str(binary), "serve"]
        self._env = {name: value for name, value in self._env.items() if name.startswith("FOREMAN_")}
        self.unpacks_to = data_dir.parent / "tmp"
        self.unpacks_to.mkdir()
        self._env |= {"TMPDIR": str(self.unpacks_to), **environment}


@pytest.fixture
def binary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A copy of the executable, alone in a folder that nobody may write to."""
    built = request.config.getoption("--binary", default=None)
    if built is None:
        pytest.skip("no executable to try; `make binary` builds one and tries it")
    folder = tmp_path / "alone"
    folder.mkdir()
    copy = Path(shutil.copy2(Path(request.config.rootpath, built), folder))
    folder.chmod(0o500)
    yield copy
    folder.chmod(0o700)


def test_it_runs_a_job_on_its_own_engine_with_an_empty_environment(binary: Path, tmp_path: Path) -> None:
    if binary.name != "foreman":
        pytest.skip("built without the engine")
    inside = f"cd {binary.parent} && exec env -i TMPDIR={tmp_path} ./{binary.name} demo"
    demo = Child(["/bin/sh", "-c", inside], env={}, stream="stdout")
    try:
        assert demo.wait(ENGINE_START) == 0, demo.lines
    finally:
        demo.close()
    assert any(line.startswith("A real answer through a durable queue") for line in demo.lines), demo.lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone"], "something was left behind"


def test_it_has_the_driver_of_postgresql(binary: Path, tmp_path: Path, servers: Servers) -> None:
    server = servers.get("wheel")
    with server.schema() as schema, an_upstream("--kind", "ollama") as upstream:
        database = server.url(schema)
        with Binary(binary, tmp_path / "data", ollama_url=upstream.url, database_url=database, node_name="n") as daemon:
            done = daemon.http.post("/api/chat", json=chat(stream=False))
            assert done.status_code == 200, done.text
            assert not daemon.errors


def test_it_serves_and_leaves_nothing_behind(binary: Path, tmp_path: Path) -> None:
    with an_upstream("--kind", "ollama") as upstream:
        daemon = Binary(binary, tmp_path / "data", ollama_url=upstream.url)
        with daemon:
            page = daemon.http.get("/", headers={"Accept": "text/html"})
            assert page.status_code == 200 and "<html" in page.text
            assert daemon.http.get("/openapi.json").json()["paths"]
            assert Child([str(binary), "docs", "settings"], env={}, stream="stdout").wait() == 0
            assert 'foreman_target_up{target="ollama"} 1.0' in daemon.http.get("/metrics").text
            done = daemon.http.post("/api/chat", json=chat(stream=False))
            assert done.status_code == 200, done.text
            assert os.listdir(daemon.unpacks_to)
            daemon.terminate()
            assert daemon.wait() == 0
            assert [line["event"] for line in daemon.logs][-2:] == ["draining", "stopped"]
        assert os.listdir(daemon.unpacks_to) == []


def test_one_ctrl_c_drains_although_it_comes_twice(binary: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with Binary(binary, tmp_path / "data", ollama_url=nowhere) as daemon:
        for pid in (_inner(daemon.pid), daemon.pid):  # as the terminal does; the outer process passes it on
            os.kill(pid, signal.SIGINT)
        assert daemon.wait() == 0
        assert [line["event"] for line in daemon.logs][-2:] == ["draining", "stopped"]


def test_systemd_hears_the_inner_process(binary: Path, tmp_path: Path) -> None:
    hears = Hears(str(tmp_path / "notify"))
    asks = {"NOTIFY_SOCKET": hears.address, "WATCHDOG_USEC": "200000"}
    daemon = Binary(binary, tmp_path / "data", asks, ollama_url="http://127.0.0.1:9")
    daemon.command = ["/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$0" serve', str(binary)]
    try:
        with daemon:
            assert hears.next()["READY"] == "1"
            assert "is away" in hears.until("WATCHDOG")["STATUS"]
            daemon.terminate()
            hears.until("STOPPING")
            assert daemon.wait() == 0
    finally:
        hears.close()


def test_sigkill_takes_all_of_it_along(binary: Path, tmp_path: Path) -> None:
    with Binary(binary, tmp_path / "data", models=[{"name": "m", "command": [sys.executable, "-c", OTHER]}]) as daemon:
        daemon.http.post("/jobs", json=chat(model="m"))
        log = daemon.data_dir / "logs" / "m.log"
        told = until(lambda: _told(log), ENGINE_START)
        assert [name for name in told["env"] if name.startswith("_PYI_") or name == "LD_LIBRARY_PATH"] == []
        all_of_it = [_inner(daemon.pid), told["pid"]]
        daemon.kill()
        until(lambda: not any(map(_alive, all_of_it)))


def _told(log: Path) -> Any:
    lines = log.read_text().splitlines() if log.exists() else []
    return next((json.loads(line[line.index("{") :]) for line in lines if '"pid"' in line), None)


def _inner(outer: int) -> int:
    [inner] = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    return int(inner)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
