"""The nodes of a campaign, as it sees them: processes that it starts again however they have ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.cutting_proxy import CuttingProxy, Proxy, unix_socket
from tests.support.foreman import Child
from tests.support.ports import held_port
from tests.support.postgres import Server

COMMAND = [sys.executable, "-m", "tests.crash.node"]
STARTS = 60.0  # seconds until a node serves, however often it has to be started
LEAVES = 30.0  # seconds until it has ended after SIGTERM
AGAIN = 0.1  # seconds before it is started again
REFUSED = re.compile("^foreman: the database .*cannot be (used|reached)")
TAIL = 6  # lines of its log in a complaint


class Node:
    """One node, with a proxy before its database and one before itself, which the other nodes use."""

    def __init__(self, folder: Path, name: str, server: Server, schema: str, **settings: object) -> None:
        self.name = name
        self.database = CuttingProxy(unix_socket(server.socket))
        self.port = held_port()
        self.network = Proxy(lambda: socket.create_connection(("127.0.0.1", self.port)))
        self.url = f"http://127.0.0.1:{self.port}"
        self.life = threading.Lock()  # held by what befalls the process
        self.line = threading.Lock()  # held by what befalls its connections to the database
        given: dict[str, object] = {
            "addr": f"127.0.0.1:{self.port}",
            "advertise_url": f"http://{self.network.host}",
            "data_dir": folder / name,
            "database_url": server.url(schema, self.database.host),
            "log_format": "json",
            "node_name": name,
        }
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("FOREMAN_")}
        self._env |= {f"FOREMAN_{key.upper()}": str(value) for key, value in (given | settings).items()}
        self._log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        self._child: Child | None = None
        self._orders = count(1)
        self.starts = 0
        self.evicted = 0  # nodes, by this one
        self.settled = 0  # commits whose answer was lost, and that turned out to be stored
        self.odd: list[str] = []  # errors in its log, and ends that nobody asked for

    def start(self, *, within: float = 0) -> bool:
        """Start it until it serves, as a service manager does; kill it after `within` seconds if that is given.

        Returns False if it was killed.
        """
        until = time.monotonic() + (within or STARTS)
        while True:
            self._child = Child(COMMAND, env=self._env, stream="stderr", forked=True)
            self.starts += 1
            try:
                self._child.line(lambda line: '"foreman serves"' in line or None, max(0.0, until - time.monotonic()))
                return True
            except AssertionError:
                if within and time.monotonic() >= until:
                    self.kill()
                    return False
                code = self._child.wait(max(0.0, until - time.monotonic()))
                refused = code == 1 and any(REFUSED.search(line) for line in self._child.lines[-TAIL:])
                self._end("" if refused else f"did not start: {code}")
            time.sleep(AGAIN)

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._child is not None:
            unasked = "" if self._child.running else f"ended by itself: {self._child.wait()}"
            self._child.kill()
            self._end(unasked)

    def leave(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self._child is not None:
            self._child.terminate()
            try:
                code: object = self._child.wait(LEAVES)
            except subprocess.TimeoutExpired:
                self._child.kill()
                code = f"a kill, {LEAVES:.0f} s after it was told to"
            self._end(f"left with {code}" if code else "")

    def stop(self) -> None:
        """Have it stand still."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def reach(self, point: str, nth: int, act: str, within: float) -> bool:
        """Have it kill or stop itself at the nth passage of a point; return False if it does not come there in time."""
        assert self._child is not None
        order = next(self._orders)
        try:
            self._child.say(json.dumps({"point": point, "nth": nth, "act": act, "order": order}))
            self._child.line(lambda line: line == f'{{"reached": {order}}}' or None, within)
        except (AssertionError, BrokenPipeError):  # or it has ended by itself, which `kill` sees
            return False
        if act == "kill":
            self._child.wait()
            self._end("")
        return True

    def close(self) -> None:
        """End it and its proxies."""
        if self._child is not None:
            self.kill()
        self.database.close()
        self.network.close()

    def _signal(self, number: int) -> None:
        if self.running:
            assert self._child is not None
            os.kill(self._child.pid, number)

    def _end(self, odd: str) -> None:
        """Take in what the process has said."""
        assert self._child is not None
        lines = self._child.lines
        with self._log.open("a") as log:
            log.writelines(f"{line}\n" for line in [*lines, f"--- {odd or 'ended'}"])
        for line in lines:
            said: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            self.evicted += said.get("event") == "node evicted"
            self.settled += said.get("event") == "the commit is stored"
            if said.get("level") in ("error", "critical"):
                self.odd.append(f"{self.name} said: {line}")
        if odd:
            self.odd.append(f"{self.name} {odd}: " + "\n    ".join(lines[-TAIL:]))
        self._child.close()
        self._child = None
