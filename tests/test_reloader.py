"""Reloads of the targets of the whole program but for its HTTP server, over scripted targets and in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman import members, reloader
from foreman.actors.fleet import Member
from foreman.actors.inventory import PROBE_DEADLINE
from foreman.app import App, build
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import ModelNotFound, TargetDown, TargetRefused, TargetUnavailable
from foreman.domain.job import State
from foreman.queue.commands import Commit, Submit
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.protocol import Call
from tests.support.actors import EVEN, FakeTarget, InlineReaders, draft, inline, now, saying
from tests.support.sites import only_site

GONE = TargetUnavailable("the target", "connection refused")


class Server(FakeTarget):
    """A server that refuses what it has not, and takes 10 seconds for each job."""

    def __init__(self, *models: str, **fields: Any) -> None:
        super().__init__([self._answer], inventory=list(models), **fields)

    async def _answer(self, call: Call) -> AsyncIterator[Chunk]:
        if call.model not in self.inventory:
            raise TargetRefused(404, "model not found")
        async with aclosing(saying("x", seconds=10)(call)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk


@dataclass
class Program:
    """The program, its servers by the host of their addresses, and its settings."""

    folder: Path
    store: SqliteWriter
    nursery: trio.Nursery
    servers: dict[str, Server]
    tables: list[dict[str, Any]] = field(default_factory=list)
    app: App = field(init=False)
    news: trio.Event = field(default_factory=trio.Event)

    def settings(self) -> Settings:
        tables = [{"ollama_url": f"http://{table['name']}", **table} for table in self.tables]
        targets = [TargetSettings.model_validate(table) for table in tables]
        return Settings(data_dir=self.folder, shutdown_grace=30, targets=targets)

    async def start(self, *tables: dict[str, Any]) -> None:
        self.tables = list(tables)
        self.app = build(
            self.settings(), self.store, now, make_readers=partial(InlineReaders, count=1), in_thread=inline,
            chance=lambda: EVEN, reread=self.settings,
        )  # fmt: skip
        self.app.queue.add_listener(self.on_commit)
        await self.app.start(self.nursery, None)

    def on_commit(self, commit: Commit) -> None:
        self.news.set()
        self.news = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10_000):
            while not condition():
                await self.news.wait()

    async def reload(self, *tables: dict[str, Any]) -> None:
        self.tables = list(tables)
        await self.app.context.reload()

    def member(self, name: str) -> Member:
        found = self.app.context.fleet.get(name)
        assert found is not None
        return found

    async def submit(self, *models: str, first: int = 1) -> None:
        for number, model in enumerate(models, start=first):
            await self.app.context.queue.ask(Submit(draft=draft(number, model)))

    def ended(self, number: int) -> tuple[str, str | None]:
        """The state of a job and where it was last."""
        job = self.store.job(f"{number:03}")
        assert job is not None
        return job.state.value, job.target

    async def until_ended(self, *numbers: int) -> list[tuple[str, str | None]]:
        await self.until(lambda: all(self.ended(number)[0] in (State.DONE, State.FAILED) for number in numbers))
        return [self.ended(number) for number in numbers]


StartProgram = Callable[..., Awaitable[Program]]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = SqliteWriter(tmp_path / "foreman.db")
    yield store
    store.close()


@pytest.fixture
def program(
    tmp_path: Path, store: SqliteWriter, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Program]:
    def made(**servers: Server) -> Program:
        def target(settings: Settings, one: TargetSettings) -> Server:
            return servers[one.url.removeprefix("http://")]

        async def no_foreman(client: object) -> None:
            await trio.lowlevel.checkpoint()

        async def read(function: Callable[[], Settings], *, abandon_on_cancel: bool) -> Settings:
            return await inline(function)

        monkeypatch.setattr(members, "_target", target)
        monkeypatch.setattr(reloader, "boot_id_at", no_foreman)
        monkeypatch.setattr(trio.to_thread, "run_sync", read)  # a thread has no virtual time
        return Program(tmp_path, store, nursery, servers)

    return made


def table(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


KEPT, OLD, NEW = table("kept"), table("old"), table("new")


async def moving(program: Callable[..., Program], new: Server) -> Program:
    """A program of which a reload moves the model c, with jobs that wait for it, to a new target."""
    running = program(kept=Server("b"), old=Server("a", "c"), new=new)
    await running.start(KEPT, OLD)
    await running.submit("c", "c", "c")
    await running.until(lambda: running.member("old").worker.running == 1)
    await running.reload(KEPT, NEW)
    return running


LISTINGS = {
    "at once": Server("c"),
    "after a while": Server("c", slow=3),
    "when it is up": Server("c", down=GONE),
    "after the deadline of the probe": Server("c", slow=PROBE_DEADLINE + 1),
}


@pytest.mark.parametrize("new", [pytest.param(one, id=name) for name, one in LISTINGS.items()])
async def test_jobs_wait_for_the_models_of_a_target_that_is_added(
    program: Callable[..., Program], new: Server, autojump_clock: MockClock
) -> None:
    running = await moving(program, new)
    await trio.sleep(100)
    new.down, new.slow = None, min(new.slow, PROBE_DEADLINE - 1)
    assert await running.until_ended(1, 2, 3) == [("done", "old"), ("done", "new"), ("done", "new")]


@pytest.mark.parametrize("models", [[], ["b"]], ids=["nothing", "others"])
@pytest.mark.parametrize("slow", [0, 3])
async def test_jobs_are_refused_once_an_added_target_has_listed_none_of_their_models(
    program: Callable[..., Program], models: list[str], slow: int, autojump_clock: MockClock
) -> None:
    running = await moving(program, Server(*models, slow=slow))
    assert {state for state, _ in await running.until_ended(2, 3)} == {"failed"}
    assert trio.current_time() <= slow + 2


@pytest.mark.parametrize("drained", [False, True])
async def test_jobs_are_refused_once_an_added_target_that_was_away_is_removed(
    program: Callable[..., Program], drained: bool, autojump_clock: MockClock
) -> None:
    running = await moving(program, Server(down=GONE))
    if drained:
        await running.app.context.fleet.drain(running.member("new"))
    await trio.sleep(100)
    assert running.ended(2)[0] == "queued"
    await running.reload(KEPT)
    assert (await running.until_ended(2, 3))[0] == ("failed", "kept")
    assert trio.current_time() <= 102


async def test_jobs_are_refused_once_a_drained_target_is_back_without_their_models(
    program: Callable[..., Program], autojump_clock: MockClock
) -> None:
    running = await moving(program, Server(down=GONE))
    await running.app.context.fleet.drain(running.member("new"))
    await trio.sleep(100)
    assert running.ended(2)[0] == "queued"
    running.servers["new"].down = None
    assert await running.until_ended(2, 3) == [("failed", "kept")] * 2
    assert trio.current_time() <= 102


async def test_jobs_wait_for_an_added_target_that_is_drained(
    program: Callable[..., Program], autojump_clock: MockClock
) -> None:
    running = await moving(program, Server("c", slow=3))
    await running.app.context.fleet.drain(running.member("new"))
    await trio.sleep(100)
    assert running.ended(2)[0] == "queued"
    await running.app.context.fleet.resume(running.member("new"))
    assert await running.until_ended(2, 3) == [("done", "new")] * 2


async def test_jobs_wait_for_a_target_whose_server_is_being_replaced(
    program: Callable[..., Program], autojump_clock: MockClock
) -> None:
    running = program(kept=Server("b"), old=Server("c"), new=Server("a"), other=Server("c", slow=3))
    await running.start(KEPT, OLD, NEW)
    await running.submit("c", "a", "c")
    await running.until(lambda: all(running.member(name).worker.running == 1 for name in ("old", "new")))
    moved = NEW | {"ollama_url": "http://other"}
    await running.reload(KEPT, moved)
    with pytest.raises(TargetDown, match="it has not listed its models yet"):
        await running.app.context.fleet.resolve("c")
    assert await running.until_ended(1, 2, 3) == [("done", "old"), ("done", "new"), ("done", "new")]
    assert len(running.servers["other"].answered) == 1
    with pytest.raises(ModelNotFound):
        await running.app.context.fleet.resolve("a")


@pytest.mark.parametrize("slow", ["old", "new"])
async def test_jobs_follow_a_model_from_one_targets_globs_to_anothers(
    program: Callable[..., Program], slow: str, autojump_clock: MockClock
) -> None:
    running = program(old=Server("a", "c"), new=Server("b", "c"), kept=Server("b"))
    await running.start(KEPT, OLD | {"models": ["a", "c"]}, NEW | {"models": ["b"]})
    await running.submit("c", "c", "c")
    await running.until(lambda: running.member("old").worker.running == 1)
    running.servers[slow].slow = 3
    await running.reload(KEPT, OLD | {"models": ["a"]}, NEW | {"models": ["b", "c"]})
    await trio.sleep(4)
    assert await running.until_ended(1, 3) == [("done", "old"), ("done", "new")]


async def test_globs_that_change_during_a_probe_count(
    program: Callable[..., Program], autojump_clock: MockClock
) -> None:
    running = program(old=Server("c"), new=Server("b", "c"))
    await running.start(OLD, NEW | {"models": ["b"]})
    await running.submit("c", "c")
    await running.until(lambda: running.member("old").worker.running == 1)
    running.servers["new"].slow = 3
    running.member("new").inventory.look()
    await trio.sleep(1.5)
    running.member("new").inventory.look()
    await trio.lowlevel.checkpoint()
    await running.reload(NEW | {"models": ["c"]})
    assert await running.until_ended(1, 2) == [("done", "old"), ("done", "new")]


async def test_no_job_is_refused_at_the_start_for_a_target_that_is_away(
    program: Callable[..., Program], autojump_clock: MockClock
) -> None:
    running = program(kept=Server("b"), new=Server("c", down=GONE))
    CommandHandlers(running.store, JobRules(), only_site(), clock=now).apply([Submit(draft=draft(1, "c"))])
    await running.start(KEPT, NEW)
    await trio.sleep(100)
    assert running.ended(1)[0] == "queued"
    running.servers["new"].down = None
    assert await running.until_ended(1) == [("done", "new")]


@pytest.mark.parametrize("why", ["away", "drained"])
async def test_a_job_waits_for_the_only_target_that_has_its_model(
    program: Callable[..., Program], why: str, autojump_clock: MockClock
) -> None:
    running = program(kept=Server("b"), old=Server("c"))
    await running.start(KEPT, OLD)
    fleet, server = running.app.context.fleet, running.servers["old"]
    if why == "away":
        server.down = GONE
        running.member("old").inventory.report_down(GONE)
    else:
        await fleet.drain(running.member("old"))
    await running.submit("c")
    await trio.sleep(100)
    assert running.ended(1)[0] == "queued"
    server.down = None
    await fleet.resume(running.member("old"))
    assert await running.until_ended(1) == [("done", "old")]
