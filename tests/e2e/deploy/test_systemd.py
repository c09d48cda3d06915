"""Foreman as a service of Type=notify: what systemd hears of it, on a real socket."""

from __future__ import annotations

import json
import math
import os
import queue
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.systemd import Systemd
from tests.conftest import Logged
from tests.faults.broken import Broken
from tests.support.api import state, submit
from tests.support.foreman import Daemon, managed, until

TIMEOUT = 0.2  # seconds of the watchdog
SILENCE = 5 * TIMEOUT  # seconds after which nothing will come any more


class Hears:
    """systemd's end of the socket, which is read all the time: it holds ten messages, and the next one is lost."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self._heard.put(message)

    def next(self, seconds: float = 30) -> dict[str, str]:
        """One message, waited for."""
        try:
            message = self._heard.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"nothing was heard for {seconds} s") from None
        return dict(line.split("=", 1) for line in message.decode().splitlines())

    def until(self, name: str) -> dict[str, str]:
        """The first message with this variable."""
        while name not in (said := self.next()):
            pass
        return said

    def is_silent(self) -> bool:
        """Whether, after what is on its way, nothing comes any more."""
        for _ in range(100):
            try:
                self.next(SILENCE)
            except TimeoutError:
                return True
        return False

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hears]:
    hears = Hears(str(tmp_path / "notify") if request.param == "path" else f"@foreman-{secrets.token_hex(8)}")
    yield hears
    hears.close()


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hears]:
    """One that watches the Foremen that the test starts."""
    hears = Hears(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", hears.address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(TIMEOUT * 1e6)))
    yield hears
    hears.close()


def test_systemd_hears_that_it_serves_lives_and_leaves(systemd: Hears, data_dir: Path) -> None:
    daemon = Daemon(data_dir, models=managed("a"), shutdown_grace=7).start(ready=False)
    try:
        ready = systemd.next()
        assert ready["READY"] == "1"
        daemon.url = ready["STATUS"]
        daemon.http = daemon.client()
        assert daemon.http.get("/readyz").status_code == 200  # at the first call
        alive = systemd.next()
        assert alive == {"WATCHDOG": "1", "STATUS": f"{daemon.url}: 0 waiting, 0 running"}
        done = submit(daemon, "x")
        until(lambda: state(daemon, done) == "done")
        environment = Path(f"/proc/{_model_of(daemon)}/environ").read_bytes()
        assert b"PATH=" in environment and b"NOTIFY_SOCKET" not in environment and b"WATCHDOG" not in environment
        daemon.terminate()
        leaving = systemd.until("STOPPING")
        assert leaving["STATUS"] == "draining" and int(leaving["EXTEND_TIMEOUT_USEC"]) > 7e6
        assert daemon.wait() == 0
    finally:
        daemon.close()


@pytest.mark.alone  # the fault is one of its file
def test_a_service_whose_disk_hangs_shows_no_life_until_it_goes_on(systemd: Hears, data_dir: Path) -> None:
    daemon = Broken("hung", data_dir, models=managed("a"))
    with daemon:
        systemd.until("WATCHDOG")
        daemon.break_now()
        assert systemd.is_silent()
        assert daemon.http.get("/healthz").status_code == 200
        daemon.mend()
        systemd.until("WATCHDOG")


def test_a_service_with_an_actor_down_shows_no_life(systemd: Hears, data_dir: Path) -> None:
    daemon = Broken("down", data_dir, models=managed("a"))
    with daemon:
        systemd.until("WATCHDOG")
        daemon.break_now()
        until(lambda: 'foreman_restarts_total{actor="pruner"} 1.0' in daemon.http.get("/metrics").text)
        assert systemd.is_silent()
        assert daemon.http.get("/healthz").status_code == 200


async def test_a_sign_of_life_comes_at_half_of_the_patience(either: Hears, autojump_clock: MockClock) -> None:
    looks: list[float] = []

    async def look() -> str | None:
        looks.append(trio.current_time())
        return None if len(looks) == 2 else f"look {len(looks)}"

    environment = {"NOTIFY_SOCKET": either.address, "WATCHDOG_USEC": "6000000", "WATCHDOG_PID": str(os.getpid())}
    with trio.move_on_after(10):
        await Systemd.take(environment).run(look)
    assert looks == [3, 6, 9]
    assert [either.next(), either.next()] == [{"WATCHDOG": "1", "STATUS": f"look {n}"} for n in (1, 3)]
    assert environment == {}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere"},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"},
    ],
)
def test_nobody_watches_who_does_not_say_so(given: dict[str, str]) -> None:
    assert Systemd.take(given).timeout == math.inf


async def test_without_systemd_nothing_is_looked_at(autojump_clock: MockClock) -> None:
    async def look() -> str | None:
        raise AssertionError("nobody asked")

    with trio.move_on_after(100) as waited:
        await Systemd.take({}).run(look)
    assert waited.cancelled_caught


def test_a_systemd_that_cannot_be_told_is_a_warning(logged: Logged, tmp_path: Path) -> None:
    Systemd(str(tmp_path / "nobody")).ready("here")
    [line] = logged.events("systemd could not be told")
    assert line["why"] == "No such file or directory"


def _model_of(daemon: Daemon) -> int:
    lines = (daemon.data_dir / "logs" / "a.log").read_text().splitlines()
    return int(next(json.loads(line)["pid"] for line in lines if '"pid"' in line))
