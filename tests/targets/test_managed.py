"""Managed models: started on demand, swapped, unloaded, restarted, and never left behind."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from foreman.config.managed_model import ManagedModel
from foreman.domain.errors import ModelCrashed, NotServed, Shortage
from foreman.targets.managed import server_process
from foreman.targets.managed.child import Child
from foreman.targets.managed.child_log import KEPT_LINES, MAX_FILE, ChildLog
from foreman.targets.managed.target import ManagedTarget
from tests.conftest import Logged
from tests.targets.conftest import ROOT, UPSTREAM, call, chunks_of, log_of, managed_model, port_of, until


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie is dead
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended between the two looks
        return not Path("/proc").is_dir()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def started(nursery: trio.Nursery, folder: Path, *models: ManagedModel) -> ManagedTarget:
    target = ManagedTarget(models, folder)
    await nursery.start(target.run)
    return target


async def pid_of(target: ManagedTarget, model: str) -> int:
    pid: int = (await log_of(port_of(target, model)))["pid"]
    return pid


async def test_nothing_runs_until_it_is_needed(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a", aliases=["other"]))
    assert not target.in_memory() and not target.is_loaded("a")
    assert [(model.name, model.aliases) for model in await target.models()] == [("a", ("other",))]
    await target.load(call(model="other"))
    assert target.is_loaded("a") and target.is_loaded('other {"num_ctx":1}') and target.in_memory() == ["a"]


async def test_a_load_waits_until_the_target_runs_again(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = ManagedTarget([managed_model("a")], tmp_path)
    with trio.fail_after(20):
        async with trio.open_nursery() as loading:
            loading.start_soon(target.load, call())
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(target.run)
    assert target.is_loaded("a")


async def test_loads_of_one_model_share_one_start(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a"))
    pids = set()

    async def load() -> None:
        await target.load(call())
        pids.add(await pid_of(target, "a"))

    async with trio.open_nursery() as loads:
        for _ in range(5):
            loads.start_soon(load)
    assert len(pids) == 1


async def test_another_model_takes_the_place_when_no_answer_needs_it(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a"), managed_model("b"))
    await target.load(call())
    first = await pid_of(target, "a")
    order: list[str] = []

    async def answer() -> None:
        await chunks_of(target, call("#every=0.02 #chunks=20"))
        order.append("answered")

    async def swap() -> None:
        await target.load(call(model="b"))
        order.append("swapped")

    async with trio.open_nursery() as both:
        both.start_soon(answer)
        await until(lambda: _asked(target))
        both.start_soon(swap)
    assert order == ["answered", "swapped"]
    assert target.in_memory() == ["b"] and not target.is_loaded("a") and not alive(first)


async def _asked(target: ManagedTarget) -> bool:
    return bool((await log_of(port_of(target, "a")))["requests"])


async def test_embedding_models_stay_beside_the_others(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a"), managed_model("e", embedding=True))
    await target.load(call())
    await chunks_of(target, call("hi", "/api/embed", model="e"))
    assert target.is_loaded("a") and target.is_loaded("e") and target.in_memory() == ["a"]
    with pytest.raises(NotServed):
        await chunks_of(target, call(model="e"))


async def test_one_name_may_have_a_server_that_chats_and_one_that_embeds(nursery: trio.Nursery, tmp_path: Path) -> None:
    pair = managed_model("a", aliases=["x"]), managed_model("a", aliases=["x"], embedding=True)
    target = await started(nursery, tmp_path, *pair, managed_model("b"))
    listed = {model.name: model for model in await target.models()}
    assert list(listed) == ["a", "b"]
    assert not listed["a"].embedding and listed["a"].aliases == ("x",)
    await chunks_of(target, call("hi", "/api/embed", model="x"))
    assert not target.is_loaded("a") and not target.in_memory()  # nobody has chatted yet
    await chunks_of(target, call("hi"))
    assert target.in_memory() == ["a"]
    await chunks_of(target, call("hi", model="b"))
    await target.unload("a")
    assert sorted(target._children.latest) == [("a", True), ("b", False)]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["a-embedding.log", "a.log", "b.log"]


async def test_an_idle_model_is_unloaded_after_its_ttl(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a", ttl=0.2))
    await chunks_of(target, call("#every=0.1 #chunks=5"))  # longer than the ttl, but in use
    assert target.is_loaded("a")
    pid = await pid_of(target, "a")

    async def gone() -> bool:
        return not target.is_loaded("a") and not alive(pid)

    await until(gone)
    await chunks_of(target, call())
    assert target.is_loaded("a")


async def test_a_crash_is_told_with_the_last_words_and_the_next_load_starts_anew(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    target = await started(nursery, tmp_path, managed_model("a"))
    with pytest.raises(ModelCrashed, match=r"the server of a ended with status 3; it last said: .*out of memory"):
        await chunks_of(target, call("#die"))
    assert not target.is_loaded("a") and not target.in_memory()
    assert (await chunks_of(target, call()))[-1].last
    assert "out of memory" in (tmp_path / "logs" / "a.log").read_text()


async def test_a_crash_while_idle_is_noticed(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a"))
    await target.load(call())
    os.kill(await pid_of(target, "a"), signal.SIGKILL)

    async def noticed() -> bool:
        return not target.is_loaded("a")

    await until(noticed)
    assert (await chunks_of(target, call()))[-1].last


@pytest.mark.parametrize("words", ["#silent", "#stall"], ids=["before the answer", "in the middle of it"])
async def test_a_stopped_server_is_killed_and_the_next_call_gets_a_new_one(
    nursery: trio.Nursery, tmp_path: Path, words: str
) -> None:
    target = await started(nursery, tmp_path, managed_model("a", liveness_timeout=0.6))
    await target.load(call())
    pid = await pid_of(target, "a")

    async def ask() -> None:
        with pytest.raises(ModelCrashed, match=r"answered nothing, not even /health, for 0\.6 s"):
            await chunks_of(target, call(words))

    with trio.fail_after(10):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(ask)
            await until(lambda: _asked(target))
            os.kill(pid, signal.SIGSTOP)
        assert (await chunks_of(target, call()))[-1].last
    assert not alive(pid) and await pid_of(target, "a") != pid


async def test_a_shortage_at_its_start_is_no_crash(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await started(nursery, tmp_path, managed_model("a"))
    with monkeypatch.context() as patched:
        patched.setattr(server_process.ServerProcess, "start", _short)
        with pytest.raises(Shortage, match="too many open files"):
            await target.load(call())
    await target.load(call())


async def test_a_shortage_of_the_prober_ends_no_server(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await started(nursery, tmp_path, managed_model("a", liveness_timeout=0.3))
    await target.load(call())
    pid = await pid_of(target, "a")
    probes = 0

    async def short(self: Child) -> int:
        nonlocal probes
        probes += 1
        raise Shortage("too many open files")

    async def probed() -> bool:
        return probes > 3

    with monkeypatch.context() as patched, trio.fail_after(10):
        patched.setattr(Child, "_probe_once", short)
        async with trio.open_nursery() as waiting:
            waiting.start_soon(chunks_of, target, call("#slow=1"))
            await until(probed)
    assert alive(pid) and await pid_of(target, "a") == pid


async def _short(model: ManagedModel, log: ChildLog, *, key: str, owner: str) -> server_process.ServerProcess:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_who_comes_after_a_call_that_was_given_up_waits_for_a_server_that_lives(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    target = await started(nursery, tmp_path, managed_model("a", liveness_timeout=1), managed_model("b"))
    await target.load(call())
    pid = await pid_of(target, "a")
    os.kill(pid, signal.SIGSTOP)
    with trio.move_on_after(0.05) as given_up:
        await chunks_of(target, call())
    assert given_up.cancelled_caught and target.is_loaded("a")
    with trio.fail_after(10):
        assert (await chunks_of(target, call()))[-1].last
    assert not alive(pid)


DEADLOCKED = """
import http.server, socketserver, sys, threading
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): pass
lock = threading.Lock()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with lock: self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def do_POST(self):
        lock.acquire(); lock.acquire()
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


async def test_a_deadlocked_server_makes_room_for_another_model(nursery: trio.Nursery, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEADLOCKED, "{port}"]
    deadlocked = ManagedModel(name="a", command=command, slots=1, liveness_timeout=0.6)
    target = await started(nursery, tmp_path, deadlocked, managed_model("b"))

    async def ask() -> None:
        with pytest.raises(ModelCrashed, match="answered nothing"):
            await chunks_of(target, call())

    with trio.fail_after(10):
        await target.load(call())
        async with trio.open_nursery() as waiting:
            waiting.start_soon(ask)
            assert (await chunks_of(target, call(model="b")))[-1].last


async def test_a_server_that_answers_its_probe_is_left_to_work(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a", liveness_timeout=0.3))
    await target.load(call())
    pid = await pid_of(target, "a")
    with trio.fail_after(10):
        assert (await chunks_of(target, call("#slow=1")))[-1].last
    assert await pid_of(target, "a") == pid


async def test_a_server_that_cannot_start_says_why(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(
        nursery,
        tmp_path,
        managed_model("a", "--fail", "no such file: weights.gguf"),
        ManagedModel(name="n", command=["/no/such/program"], slots=1),
        managed_model("slow", "--never-ready", ready_timeout=0.3),
    )
    with pytest.raises(ModelCrashed, match=r"ended with status 7; .*weights\.gguf"):
        await target.load(call())
    with pytest.raises(ModelCrashed, match="cannot run …/program"):
        await target.load(call(model="n"))
    with pytest.raises(ModelCrashed, match=r"was not ready within 0\.3 s"):
        await target.load(call(model="slow"))


async def test_a_cancelled_load_leaves_the_target_usable(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a", "--never-ready"), managed_model("b"))
    with trio.move_on_after(0.2):
        await target.load(call())
    await target.load(call(model="b"))
    assert target.in_memory() == ["b"]


async def test_unload_stops_the_server(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, managed_model("a"))
    await target.load(call())
    pid = await pid_of(target, "a")
    await target.unload("a")
    assert not target.is_loaded("a") and not alive(pid)


async def test_the_key_is_given_to_the_child_and_never_logged(nursery: trio.Nursery, tmp_path: Path) -> None:
    show = (
        'import os, sys; print("key", sys.argv[1], os.environ["FOREMAN_ENGINE_KEY"], os.environ.get("FOREMAN_TOKEN"))'
    )
    model = ManagedModel(name="k/ü:1", command=[sys.executable, "-c", show, "{key}"], slots=1)
    target = await started(nursery, tmp_path, model)
    with pytest.raises(ModelCrashed, match=r"key \*\*\* \*\*\* None"):
        await target.load(call(model="k/ü:1"))
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["k_1.log"]


async def test_leaving_run_leaves_nothing_running(tmp_path: Path) -> None:
    target = ManagedTarget([managed_model("a")], tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(target.run)
        await target.load(call())
        pid = await pid_of(target, "a")
        nursery.cancel_scope.cancel()
    assert not alive(pid)


STUBBORN = """
import http.server, os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()} {grandchild.pid}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

PARENT = """
import sys, trio
from pathlib import Path
from foreman.config.managed_model import ManagedModel
from foreman.targets.http.pool import Client
from foreman.targets.managed.target import ManagedTarget
from tests.targets.conftest import call, port_of

async def main():
    model = ManagedModel(name="a", command=[sys.executable, "-c", sys.argv[2], "{port}"], slots=1)
    target = ManagedTarget([model], Path(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(target.run)
        await target.load(call())
        _, pids = await Client(f"http://127.0.0.1:{port_of(target, 'a')}").fetch("GET", "/", limit=100)
        print(pids.decode(), flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_children_die_with_foreman_however_it_ends(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), STUBBORN]
    parent = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    with trio.fail_after(30):
        said = b""
        while not said.endswith(b"\n"):
            piece = await parent.stdout.receive_some()
            assert piece, "the parent ended"
            said += piece
    child, grandchild = map(int, said.split())
    assert alive(child) and alive(grandchild)
    parent.send_signal(number)
    await parent.wait()

    async def gone() -> bool:
        return not alive(child) and not alive(grandchild)

    await until(gone)


async def test_an_engine_behind_a_shell_goes_when_the_leash_is_killed(nursery: trio.Nursery, tmp_path: Path) -> None:
    serving = shlex.join([*UPSTREAM, "--kind", "openai", "--models", "a"])
    model = ManagedModel(name="a", command=["sh", "-c", f"{serving} --port {{port}} & wait"], slots=1)
    target = await started(nursery, tmp_path, model)
    await target.load(call())
    engine = await pid_of(target, "a")
    shell = parent_of(engine)
    os.kill(parent_of(shell), signal.SIGKILL)

    async def gone() -> bool:
        return not alive(engine) and not alive(shell) and not target.is_loaded("a")

    await until(gone)
    await target.load(call())
    assert await pid_of(target, "a") != engine


STRAYS = """
import http.server, os, subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
def start(**how):
    return subprocess.Popen(sleep, start_new_session=True, **how).pid
def orphan(**how):  # its parent ends at once
    reads, writes = os.pipe()
    if not os.fork():
        os.write(writes, str(start(**how)).encode()); os._exit(0)
    os.wait()
    return int(os.read(reads, 20))
pids = [start(), start(env={}), orphan(), orphan(env={})]
open(sys.argv[1], "w").write(" ".join(map(str, pids)))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
"""


async def test_what_a_server_started_in_sessions_of_their_own_goes_with_it(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", STRAYS, str(tmp_path / "pids"), "{port}"]
    target = await started(nursery, tmp_path, ManagedModel(name="a", command=command, slots=1))
    await target.load(call())
    strays = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(strays) == 4 and all(map(alive, strays))
    await target.unload("a")
    assert not any(map(alive, strays))


async def test_what_an_earlier_run_left_behind_is_ended_at_the_start(
    nursery: trio.Nursery, tmp_path: Path, logged: Logged
) -> None:
    found = await trio.Path(tmp_path).stat()
    mine = f"{found.st_dev}:{found.st_ino}:{tmp_path}"
    left, other = [
        await trio.lowlevel.open_process(["sleep", "600"], env={**os.environ, "FOREMAN_ENGINE_OF": owner})
        for owner in (mine, "another")
    ]
    await started(nursery, tmp_path, managed_model("a"))
    with trio.fail_after(5):
        assert await left.wait() == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    await other.wait()
    assert [line["processes"] for line in logged.events("ended what servers of an earlier run left behind")] == [1]


def test_a_childs_log_does_not_grow_without_end(tmp_path: Path) -> None:
    log = ChildLog(tmp_path, "m", "secret")
    for number in range(1200):
        log.write(b"%d secret " % number + b"x" * 10_000 + b"\n")
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["m.log", "m.log.1"]
    assert all(file.stat().st_size <= MAX_FILE for file in files)
    assert len(log.last_lines()) == KEPT_LINES and "1199 ***" in log.last_lines()[-1]


def test_callers_do_not_hear_where_a_childs_files_lie(tmp_path: Path) -> None:
    log = ChildLog(tmp_path, "m", "")
    log.write(b"cannot open '/srv/models/q4.gguf': see /etc/llama/x.conf, http://127.0.0.1:80/v1/models\n")
    log.close()
    assert log.last_lines() == ["cannot open '…/q4.gguf': see …/x.conf, http://127.0.0.1:80/v1/models"]
    assert "/srv/models/" in (tmp_path / "m.log").read_text()


async def test_a_server_whose_port_another_program_took_is_started_with_another(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind((server_process.HOST, 0))
        other.listen()
        ports = [other.getsockname()[1], server_process.free_port()]
        monkeypatch.setattr(server_process, "free_port", lambda: ports.pop(0))
        target = await started(nursery, tmp_path, managed_model("a"))
        with trio.fail_after(60):
            assert await chunks_of(target, call())
        assert not ports


async def test_a_server_for_which_no_port_is_free_fails_with_its_last_words(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind((server_process.HOST, 0))
        other.listen()
        monkeypatch.setattr(server_process, "free_port", lambda: other.getsockname()[1])
        target = await started(nursery, tmp_path, managed_model("a"))
        with trio.fail_after(60), pytest.raises(ModelCrashed, match="ended with status"):
            await target.load(call())
