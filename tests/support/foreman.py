"""Real processes for tests: Foreman itself and the scripted upstream, each ended by its own pid whatever happens."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import httpx2

from foreman.watchdog import TOO_LONG
from tests.support import preloaded

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LONG = (
    60.0  # seconds within which what is waited for comes even on a busy machine; nobody waits so long when all is well
)
MODELS = "a,b,c"
NODE = "n"  # the name of a daemon whose queue is in a database that no test has named
HOLDS: list[Mapping[str, Any]] = []  # what the watchdogs of daemons said since the test began


class Child:
    """A child process whose lines of one stream are read as they come."""

    def __init__(self, command: list[str], *, env: Mapping[str, str], stream: str, forked: bool = False) -> None:
        self._process = (forked and preloaded.start(command, env, stream)) or self._started(command, env, stream)
        self._output = getattr(self._process, stream)
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._over = False
        # Nobody may have closed it when the tests end: then they wait for no line of it, and it is killed.
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()
        atexit.register(self._process.kill)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def line(self, wanted: Callable[[str], T | None], seconds: float = LONG) -> T:
        """What `wanted` makes of the first line that it knows, waited for."""
        found: list[T] = []

        def look() -> bool:
            found.extend(made for made in map(wanted, self.lines) if made is not None)
            return bool(found) or self._over

        with self._news:
            if not self._news.wait_for(look, seconds) or not found:
                raise AssertionError(f"process {self.pid} did not say it:\n" + "\n".join(self.lines[-30:]))
        return found[0]

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.wait()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = LONG) -> int:
        """Its exit code."""
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        return code

    def close(self) -> None:
        """End it if it still runs."""
        if self.running and "COVERAGE_PROCESS_CONFIG" in os.environ:  # what is killed cannot say what it ran
            for _ in range(2):  # asked twice it leaves at once
                self.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(3)
        self.kill()
        atexit.unregister(self._process.kill)
        self._output.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    @staticmethod
    def _started(command: list[str], env: Mapping[str, str], stream: str) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
        return subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE, **pipes)

    def _read(self) -> None:
        for line in self._output:
            with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                if b'held the loop"' in line and held_the_loop(said := json.loads(line)):
                    HOLDS.append(said)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


class Daemon:
    """`foreman serve` as a child. Settings are keyword arguments; a list or dict is given as JSON.

    It is forked from a process that has imported Foreman, where its command is `python -m …`. Where the start itself
    counts, or how much memory it takes, say `forked=False`.
    """

    command: Sequence[str] = (sys.executable, "-m", "foreman", "serve")
    database: ClassVar[Callable[[Path], str] | None] = None  # the address for a data folder that says none

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self._forked = bool(settings.pop("forked", True))
        self.token = str(settings.get("token", ""))
        given = {"addr": "127.0.0.1:0", "data_dir": data_dir, "log_format": "json"} | settings
        if Daemon.database is not None and "database_url" not in settings:
            given |= {"database_url": Daemon.database(data_dir), "node_name": NODE}
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
        for name, value in given.items():
            plain = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
            self._env[f"FOREMAN_{name.upper()}"] = plain
        self._child: Child | None = None
        self.url = ""
        self.http = httpx2.Client(verify=False)
        self.trust: ssl.SSLContext | bool = False  # what its certificate is checked against

    def start(self, *, ready: bool = True) -> Daemon:
        """Start it, again if it ran before; returns when /readyz answers."""
        self.close()
        self._child = Child([*self.command], env=self._env, stream="stderr", forked=self._forked)
        if ready:
            try:
                self.url = self._child.line(_url_in)
                self.http = self.client()
                until(lambda: self.http.get("/readyz").status_code == 200)
            except BaseException:
                self.close()
                raise
        return self

    @property
    def database_url(self) -> str:
        """The database that it shares with others; empty if its queue is in SQLite."""
        return self._env.get("FOREMAN_DATABASE_URL", "")

    def client(self) -> httpx2.Client:
        """A client of its own, with the token that the daemon wants."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx2.Client(base_url=self.url, headers=headers, verify=self.trust, trust_env=False, timeout=60)

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.child.lines if line.startswith("{")]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["level"] in ("error", "critical")]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.child.kill()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.child.terminate()

    def wait(self, seconds: float = LONG) -> int:
        """Its exit code."""
        return self.child.wait(seconds)

    def close(self) -> None:
        self.http.close()
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Upstream:
    """The scripted upstream server of tests/support/target.py as a child; once started it keeps its port."""

    def __init__(self, *args: str) -> None:
        self._args = args
        self._child: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    def start(self) -> Upstream:
        command = [sys.executable, "-m", "tests.support.target", "--port", str(self.port), *self._args]
        self._child = Child(command, env=os.environ, stream="stdout", forked=True)
        self.port = self._child.line(lambda line: int(json.loads(line)["port"]))
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def log(self) -> dict[str, Any]:
        log: dict[str, Any] = httpx2.get(f"{self.url}/_log", trust_env=False, verify=False).json()
        return log

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The requests that spoke of `text`."""
        return [request for request in self.log()["requests"] if text in json.dumps(request["payload"])]


@contextmanager
def an_upstream(*args: str) -> Iterator[Upstream]:
    upstream = Upstream(*args)
    try:
        yield upstream.start()
    finally:
        upstream.stop()


def managed(*names: str, **fields: object) -> list[dict[str, object]]:
    """The setting `models`: managed models served by the scripted upstream."""
    command = [
        sys.executable,
        "-m",
        "tests.support.target",
        "--kind",
        "openai",
        "--port",
        "{port}",
        "--models",
        "{model}",
    ]
    return [{"name": name, "command": command, **fields} for name in names]


def until(condition: Callable[[], T], seconds: float = LONG) -> T:
    """The condition's value once it holds: for what happens in another process, which shares its core with the looks.

    So those become rarer, up to twenty a second.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        assert waited < seconds, f"did not come true within {seconds:g} s: {value!r}"
        time.sleep(min(0.01 + waited / 10, 0.05))


def held_the_loop(line: Mapping[str, Any]) -> bool:
    """Return whether it is a watchdog's, and Foreman was at work, neither waiting nor held up by the test itself."""
    if not line["event"].endswith(" held the loop") or float(line["cpu_seconds"]) <= TOO_LONG:
        return False
    if "task" in line:
        return not line["task"].startswith("tests.") or bool(line["where"].startswith("foreman."))
    return not any(frame.startswith(("tests.", "_pytest.")) for frame in line["where"])


def _url_in(line: str) -> str | None:
    said = json.loads(line) if line.startswith("{") else {}
    return str(said["url"]) if said.get("event") == "foreman serves" else None
