"""A managed target with a memory budget: what fits stays loaded, and what does not waits for room."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from foreman.config.managed_model import ManagedModel
from foreman.domain.errors import ModelCrashed
from foreman.domain.job import load_key
from foreman.targets.managed.target import ManagedTarget
from tests.conftest import Logged
from tests.targets.conftest import UPSTREAM, call, chunks_of, log_of, port_of, until

GIB = 2**30

# Adds up the memory of all servers that run at its own start, itself included, and becomes the server.
COUNTING = """
import os, pathlib, sys
folder, size, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
folder.joinpath(f"{os.getpid()}.size").write_text(size)
def runs(pid):
    try: return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError: return False
taken = sum(int(file.read_text()) for file in folder.glob("*.size") if runs(file.stem))
with open(folder / "taken", "a") as log: log.write(f"{taken}\\n")
os.execv(command[0], command)
"""


class Budgeted:
    """A target with room for 22 GiB, whose servers add up what they take."""

    def __init__(self, folder: Path, sizes: dict[str, int], **fields: dict[str, Any]) -> None:
        self._folder = folder / "taken"
        self._folder.mkdir()
        models = [self._model(name, size, **fields.get(name, {})) for name, size in sizes.items()]
        self.target = ManagedTarget(models, folder, memory=22 * GIB)

    def _model(self, name: str, size: int, *, args: Sequence[str] = (), **fields: Any) -> ManagedModel:
        command = [sys.executable, "-c", COUNTING, str(self._folder), str(size), *UPSTREAM]
        command += ["--kind", "openai", "--port", "{port}", "--models", "{model}", *args]
        if size:
            fields["memory"] = f"{size} GiB"
        return ManagedModel.model_validate({"name": name, "command": command, **fields})

    @property
    def starts(self) -> list[int]:
        """The GiB of all servers that ran, at each start of one."""
        return [int(line) for line in (self._folder / "taken").read_text().split()]

    @property
    def loaded(self) -> set[str]:
        return {name for name, _ in self.target._children.latest if self.target.is_loaded(name)}

    async def ask(self, model: str, text: str = "hello", endpoint: str = "/api/chat") -> None:
        await chunks_of(self.target, call(text, endpoint, model=model))

    async def requests(self, model: str) -> int:
        return len((await log_of(port_of(self.target, model)))["requests"])

    def at_work(self, model: str) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            return self.target.is_loaded(model) and await self.requests(model) > 0

        return asked


async def test_two_of_three_stay_and_the_third_takes_the_place_of_the_least_recently_used(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    budgeted = Budgeted(tmp_path, {"a": 11, "b": 11, "c": 11})
    await nursery.start(budgeted.target.run)
    for model in ("a", "b", "a", "b", "a"):
        await budgeted.ask(model)
    assert budgeted.loaded == {"a", "b"} and budgeted.starts == [11, 22]
    await budgeted.ask("c")
    assert budgeted.loaded == {"a", "c"} and budgeted.starts == [11, 22, 22]


async def test_what_is_loaded_together_works_together(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 11, "b": 11})
    await nursery.start(budgeted.target.run)
    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(budgeted.ask, "a", "#stall")
            await until(budgeted.at_work("a"))
            await budgeted.ask("b")
            asking.cancel_scope.cancel()


async def test_one_that_runs_never_makes_room(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 11, "b": 11, "c": 11})
    await nursery.start(budgeted.target.run)
    await budgeted.ask("b")
    async with trio.open_nursery() as asking:
        asking.start_soon(budgeted.ask, "a", "#stall")
        await until(budgeted.at_work("a"))
        await budgeted.ask("b")
        await budgeted.ask("c")  # `a` has waited for its answer for longer than `b` is unused
        assert budgeted.loaded == {"a", "c"}
        asking.cancel_scope.cancel()
    assert max(budgeted.starts) <= 22


async def test_a_load_waits_for_the_end_of_what_is_used(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 10, "large": 20})
    await nursery.start(budgeted.target.run)
    order: list[str] = []

    async def ask(model: str, text: str) -> None:
        await budgeted.ask(model, text)
        order.append(model)

    with trio.fail_after(30):
        async with trio.open_nursery() as asking:
            for model in ("a", "b"):
                asking.start_soon(ask, model, "#every=0.02 #chunks=20")
                await until(budgeted.at_work(model))
            asking.start_soon(ask, "large", "hello")
    assert order[-1] == "large" and budgeted.loaded == {"large"}
    assert budgeted.starts == [12, 22, 20]


async def test_only_what_must_go_makes_room(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"small": 2, "large": 18, "c": 20})
    await nursery.start(budgeted.target.run)
    for model in ("small", "large", "c"):  # the older one may stay beside `c`
        await budgeted.ask(model)
    assert budgeted.loaded == {"small", "c"}


async def test_calls_that_keep_coming_do_not_keep_another_model_out(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 12})
    await nursery.start(budgeted.target.run)

    async def keep_asking() -> None:
        while True:
            await budgeted.ask("a", "#every=0.02 #chunks=5")

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            for _ in range(3):
                asking.start_soon(keep_asking)
            await until(budgeted.at_work("a"))
            await budgeted.ask("b")
            asking.cancel_scope.cancel()
    assert max(budgeted.starts) <= 22


@pytest.mark.parametrize("words", ["#die", "#slow=600"], ids=["a child that dies", "a call that is given up"])
async def test_a_wait_for_room_ends_with_what_it_waits_for(nursery: trio.Nursery, tmp_path: Path, words: str) -> None:
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 12})
    await nursery.start(budgeted.target.run)
    await budgeted.ask("a")
    given_up = trio.CancelScope()

    async def ask() -> None:
        with given_up:
            if words == "#die":
                with pytest.raises(ModelCrashed):
                    await budgeted.ask("a", f"#every=0.05 {words}")
            else:
                await budgeted.ask("a", words)

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            asking.start_soon(budgeted.ask, "b")
            await trio.testing.wait_all_tasks_blocked()
            if words != "#die":
                given_up.cancel()
    assert budgeted.loaded == {"b"} and max(budgeted.starts) <= 22


async def test_a_wait_for_room_that_is_given_up_leaves_all_as_it_was(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 12})
    await nursery.start(budgeted.target.run)
    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(budgeted.ask, "a", "#stall")
            await until(budgeted.at_work("a"))
            with trio.move_on_after(0.05) as waiting:
                await budgeted.ask("b")
            assert waiting.cancelled_caught
            await budgeted.ask("a")  # beside the call that stalls
            asking.cancel_scope.cancel()
    assert budgeted.loaded == {"a"} and budgeted.starts == [12]


async def test_a_model_of_unknown_size_is_loaded_alone(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 2, "unknown": 0})
    await nursery.start(budgeted.target.run)
    for model in ("a", "unknown"):
        await budgeted.ask(model)
        assert budgeted.loaded == {model}


async def test_the_memory_of_embedding_servers_is_set_aside(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 11, "b": 9, "e": 4}, e={"embedding": True})
    await nursery.start(budgeted.target.run)
    for model in ("a", "b"):
        await budgeted.ask(model)
    assert budgeted.loaded == {"b"}  # there would be room, had the other not to come
    await budgeted.ask("e", endpoint="/api/embed")
    assert budgeted.loaded == {"b", "e"} and max(budgeted.starts) <= 22


def test_the_room_is_what_the_scheduler_may_count_on(tmp_path: Path) -> None:
    sized = Budgeted(tmp_path, {"a": 11, "b": 9, "c": 9, "e": 4}, e={"embedding": True}).target
    assert sized.room().fits(["b", "c", load_key("c", {"num_ctx": 1})]) and not sized.room().fits(["a", "b"])
    models = [ManagedModel(name=name, command=["x"], memory=1) for name in "ab"]
    assert not ManagedTarget(models, tmp_path).room().fits(["a", "b"])  # without a budget: one at a time


async def test_a_call_past_the_queue_may_start_what_displaces_nothing(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = Budgeted(tmp_path, {"a": 11, "b": 11, "c": 11}).target
    await nursery.start(target.run)
    await target.load(call(model="a"))
    assert not target.displaces(call(model="a")) and not target.displaces(call(model="b"))
    await target.load(call(model="b"))
    assert target.displaces(call(model="c"))
    alone = ManagedTarget([ManagedModel(name="a", command=["x"])], tmp_path / "taken")
    assert alone.displaces(call(model="a"))


def test_a_model_says_how_many_jobs_its_server_takes(tmp_path: Path) -> None:
    models = [
        ManagedModel(name="a", command=["x"], aliases=["x"], concurrency=2),
        ManagedModel(name="b", command=["x"]),
    ]
    target = ManagedTarget(models, tmp_path)
    assert [target.slots_of(key) for key in ("a", "x", load_key("a", {"num_ctx": 1}), "b", "c")] == [
        2,
        2,
        2,
        None,
        None,
    ]


async def test_no_more_calls_reach_a_server_than_its_concurrency(nursery: trio.Nursery, tmp_path: Path) -> None:
    budgeted = Budgeted(tmp_path, {"a": 1}, a={"concurrency": 2})
    await nursery.start(budgeted.target.run)

    def at_work(count: int) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            return budgeted.target.is_loaded("a") and await budgeted.requests("a") == count

        return asked

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(budgeted.ask, "a", "#stall")
            await until(at_work(1))
            for _ in range(2):
                asking.start_soon(budgeted.ask, "a", "#stall")
            await until(at_work(2))
            await trio.testing.wait_all_tasks_blocked()
            assert await budgeted.requests("a") == 2
            asking.cancel_scope.cancel()
        async with trio.open_nursery() as asking:  # whose places are free again
            for _ in range(4):
                asking.start_soon(budgeted.ask, "a")


async def test_models_are_preloaded_as_far_as_there_is_room(
    nursery: trio.Nursery, tmp_path: Path, logged: Logged
) -> None:
    budgeted = Budgeted(tmp_path, {"a": 11, "b": 11, "c": 11, "d": 11}, **{name: {"preload": True} for name in "abc"})
    await nursery.start(budgeted.target.run)

    async def told() -> bool:
        return bool(logged.events("a model is not preloaded: there is no room beside the others"))

    await until(told)
    assert budgeted.loaded == {"a", "b"} and budgeted.target.in_memory()[-1] == "a"


async def test_a_job_does_not_wait_for_what_is_preloaded(nursery: trio.Nursery, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"a": {"preload": True, "args": ["--never-ready"]}}
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 12}, **fields)
    await nursery.start(budgeted.target.run)

    async def begun() -> bool:
        return bool(budgeted.target._children.latest)

    await until(begun)
    with trio.fail_after(20):
        await budgeted.ask("b")
    assert budgeted.loaded == {"b"}


async def test_a_model_that_cannot_be_preloaded_is_told(nursery: trio.Nursery, tmp_path: Path, logged: Logged) -> None:
    fields: dict[str, Any] = {"a": {"preload": True, "args": ["--fail", "no weights"]}, "b": {"preload": True}}
    budgeted = Budgeted(tmp_path, {"a": 12, "b": 10}, **fields)
    await nursery.start(budgeted.target.run)

    async def loaded() -> bool:
        return budgeted.loaded == {"b"}

    await until(loaded)
    assert [line["model"] for line in logged.events("a model could not be preloaded")] == ["a"]


async def test_two_targets_of_one_folder_keep_apart(nursery: trio.Nursery, tmp_path: Path) -> None:
    command = [*UPSTREAM, "--kind", "openai", "--port", "{port}", "--models", "{model}"]
    names = ("gpu0", "gpu1")
    models = [
        ManagedModel(name="a", command=command, target=name, env={"CUDA_VISIBLE_DEVICES": name}) for name in names
    ]
    targets = [ManagedTarget([model], tmp_path, name=model.target) for model in models]
    await nursery.start(targets[0].run)
    await chunks_of(targets[0], call())
    await nursery.start(targets[1].run)  # ends what an earlier run of its own left, and nothing else
    await chunks_of(targets[1], call())
    assert all(target.is_loaded("a") for target in targets)
    assert len({port_of(target, "a") for target in targets}) == 2
    assert all([await trio.Path(tmp_path, "logs", name, "a.log").exists() for name in names])
