"""What a managed model's settings change at its server: how it stops, where it listens, what it is asked."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from foreman.domain.endpoints.question import Edits, Question
from foreman.targets.managed import server_process
from foreman.targets.managed.target import ManagedTarget
from tests.targets.conftest import UPSTREAM, call, chunks_of, log_of, managed_model, port_of

SERVING = [*UPSTREAM, "--kind", "openai", "--port", "{port}", "--models", "{model}"]


async def started(nursery: trio.Nursery, folder: Path, **fields: Any) -> ManagedTarget:
    target = ManagedTarget([managed_model("a", **fields)], folder)
    await nursery.start(target.run)
    await target.load(call())
    return target


async def output(folder: Path) -> str:
    return await trio.Path(folder, "logs", "a.log").read_text()


async def test_a_server_is_stopped_by_its_stop_command(nursery: trio.Nursery, tmp_path: Path) -> None:
    told = 'echo "stopping {name} at {port} by $0"; kill {pid}'
    target = await started(nursery, tmp_path, stop_command=["sh", "-c", told, "{model}"])
    port = port_of(target, "a")
    with trio.fail_after(20):
        await target.unload("a")
    assert f"stopping a at {port} by a" in await output(tmp_path)


STUBBORN = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.mark.parametrize("command", [["false"], ["/no/such/program"], ["sleep", "600"]], ids=["fails", "none", "hangs"])
async def test_a_stop_command_that_does_not_stop_it_is_followed_by_signals(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(server_process, "STOP_COMMAND_TIMEOUT", 0.2)
    monkeypatch.setattr(server_process, "STOP_TIMEOUT", 0.1)
    target = await started(nursery, tmp_path, command=[sys.executable, "-c", STUBBORN, "{port}"], stop_command=command)
    with trio.fail_after(20):
        await target.unload("a")
    assert not target.is_loaded("a")
    if command[0] == "/no/such/program":
        assert "cannot run /no/such/program" in await output(tmp_path)


async def test_a_hung_server_is_stopped_by_its_stop_command_too(nursery: trio.Nursery, tmp_path: Path) -> None:
    command = ["sh", "-c", "echo stopped by command; kill -9 {pid}"]
    target = await started(nursery, tmp_path, liveness_timeout=0.6, stop_command=command)
    pid = (await log_of(port_of(target, "a")))["pid"]
    os.kill(pid, signal.SIGSTOP)
    with trio.fail_after(20):
        with trio.move_on_after(0.05):
            await chunks_of(target, call())
        await chunks_of(target, call())
    assert "stopped by command" in await output(tmp_path)


async def test_a_server_may_have_a_fixed_port(nursery: trio.Nursery, tmp_path: Path) -> None:
    port = server_process.free_port()
    command = [str(port) if word == "{port}" else word for word in SERVING]
    target = await started(nursery, tmp_path, command=command, port=port)
    assert port_of(target, "a") == port
    assert (await chunks_of(target, call()))[-1].last


async def test_two_servers_that_start_are_given_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    port = server_process.free_port()
    monkeypatch.setattr(server_process, "_ports", {port})
    assert port not in {server_process.free_port() for _ in range(100)}


@pytest.mark.parametrize("endpoint", ["/api/chat", "/v1/chat/completions"])
async def test_the_server_gets_what_the_operator_set_and_the_caller_keeps_what_he_wrote(
    nursery: trio.Nursery, tmp_path: Path, endpoint: str
) -> None:
    target = await started(
        nursery, tmp_path, strip=["temperature", "seed"], set={"top_k": 20, "nested": {"a": [1, None]}}
    )
    given = {"temperature": 0.5, "top_k": 1}
    asked = call("hello", endpoint, **({"options": given} if endpoint == "/api/chat" else given))
    before = asked.payload
    await chunks_of(target, asked)
    (request,) = (await log_of(port_of(target, "a")))["requests"]
    assert request["payload"]["top_k"] == 20 and request["payload"]["nested"] == {"a": [1, None]}
    assert request["payload"].keys().isdisjoint({"temperature", "seed"})
    assert asked.payload == before


def test_what_the_operator_set_is_no_addition_to_be_given_up() -> None:
    question = Question("/v1/chat/completions", {"a": 1, "b": 2, "c": 3}, {"a": None, "b": None, "c": None})
    edited = question.edited(Edits(frozenset({"a"}), {"b": 5}))
    assert edited.fields == {"b": 5, "c": 3} and edited.additions == {"c": None}
