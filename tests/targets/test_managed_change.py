"""Models and the budget of a managed target that change while it runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from foreman.config.managed_model import ManagedModel
from foreman.domain.errors import TargetDrained, TargetRefused
from foreman.targets.managed.target import ManagedTarget
from tests.conftest import Logged
from tests.targets.conftest import call, chunks_of, log_of, managed_model, port_of, until

LONG = "#every=0.02 #chunks=20"


async def started(nursery: trio.Nursery, folder: Path, *models: ManagedModel, memory: int | None = 4) -> ManagedTarget:
    target = ManagedTarget(models, folder, memory=memory)
    await nursery.start(target.run)
    return target


def sized(name: str, *args: str, memory: int = 1, **fields: Any) -> ManagedModel:
    return managed_model(name, *args, memory=memory, **fields)


async def pid_of(target: ManagedTarget, model: str) -> int:
    pid: int = (await log_of(port_of(target, model)))["pid"]
    return pid


def at_work(target: ManagedTarget, model: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return target.is_loaded(model) and bool((await log_of(port_of(target, model)))["requests"])

    return asked


def gone(pid: int) -> Callable[[], Awaitable[bool]]:
    async def over() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return over


async def names(target: ManagedTarget) -> Sequence[str]:
    return [model.name for model in await target.models()]


async def test_a_model_that_stays_keeps_its_server_and_answers_on(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"), sized("b"))
    await target.load(call())
    await target.load(call(model="b"))
    pids = [await pid_of(target, model) for model in "ab"]
    async with trio.open_nursery() as asking:
        asking.start_soon(chunks_of, target, call(LONG))
        await until(at_work(target, "a"))
        target.change([sized("a"), sized("c")], memory=3)
        assert target.is_loaded("a") and not target.is_loaded("b") and await names(target) == ["a", "c"]
        assert (await chunks_of(target, call()))[-1].last  # beside the answer under way
    await until(gone(pids[1]))
    assert (await chunks_of(target, call(model="c")))[-1].last
    assert await pid_of(target, "a") == pids[0] and target.is_loaded("a")


async def test_what_the_server_is_not_given_changes_without_a_new_one(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"))
    await target.load(call())
    pid = await pid_of(target, "a")
    target.change([sized("a", memory=3, aliases=["x"], context=4096, preload=True)], memory=4)
    assert target.is_loaded("x") and not target.room().fits(["a", "b"])
    assert (await chunks_of(target, call(model="x")))[-1].last and await pid_of(target, "a") == pid


@pytest.mark.parametrize("memory", [None, 4], ids=["one place", "a budget"])
async def test_a_changed_model_ends_its_answers_and_starts_anew(
    nursery: trio.Nursery, tmp_path: Path, memory: int | None
) -> None:
    fields: dict[str, Any] = {"memory": 1} if memory else {}
    target = await started(nursery, tmp_path, managed_model("a", **fields), memory=memory)
    await target.load(call())
    before = await pid_of(target, "a")
    order: list[str] = []

    async def ask(name: str, text: str) -> None:
        assert (await chunks_of(target, call(text)))[-1].last
        order.append(name)

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(ask, "old", LONG)
            await until(at_work(target, "a"))
            target.change([managed_model("a", env={"NEW": "1"}, **fields)], memory=memory)
            assert not target.is_loaded("a") and target.in_memory() == []
            asking.start_soon(ask, "new", "hello")
    assert order == ["old", "new"] and await pid_of(target, "a") != before
    assert await gone(before)()


async def test_an_unused_server_of_a_removed_model_ends_at_once(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"), sized("b"))
    await target.load(call())
    pid = await pid_of(target, "a")
    target.change([sized("b")], memory=4)
    with pytest.raises(TargetDrained, match="managed models no longer has the model a"):
        await target.load(call())
    await until(gone(pid))
    assert await names(target) == ["b"]  # the inventory knows from now on
    with pytest.raises(TargetRefused, match="model 'a' not found"):
        await target.load(call())
    with pytest.raises(TargetRefused, match="model 'a' not found"):
        await target.load(call("hi", "/api/embed"))
    assert "a" not in target.logs and "a" not in target.names and not target.displaces(call())


async def test_a_load_of_a_model_that_is_removed_ends(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a", "--never-ready"), sized("b"))
    refused: list[str] = []

    async def load() -> None:
        with pytest.raises(TargetDrained):
            await target.load(call())
        refused.append("a")

    with trio.fail_after(10):
        async with trio.open_nursery() as loading:
            loading.start_soon(load)
            loading.start_soon(load)
            await until(lambda: _running(target, 1))
            target.change([sized("b")], memory=4)
    assert refused == ["a", "a"]


async def test_a_load_of_a_model_that_is_changed_goes_on_with_the_new_one(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    target = await started(nursery, tmp_path, sized("a", "--never-ready"))
    with trio.fail_after(10):
        async with trio.open_nursery() as loading:
            loading.start_soon(target.load, call())
            await until(lambda: _running(target, 1))
            target.change([sized("a")], memory=4)
    assert target.is_loaded("a")


async def _running(target: ManagedTarget, count: int) -> bool:
    return len(target._children.running) == count


Wait = Callable[[ManagedTarget], Awaitable[object]]


async def pass_on(target: ManagedTarget) -> None:
    async with target.serving("a"):
        pass


WAITS: dict[str, Wait] = {
    "for a job": lambda target: target.load(call()),
    "for embeddings": lambda target: target.load(call("hi", "/api/embed")),
    "to be passed on": pass_on,
}


@pytest.mark.parametrize("wait", [pytest.param(wait, id=name) for name, wait in WAITS.items()])
@pytest.mark.parametrize("what", ["its server", "room", "its target"])
async def test_a_call_that_waits_ends_when_its_target_leaves(
    nursery: trio.Nursery, tmp_path: Path, wait: Wait, what: str
) -> None:
    starting = sized("a", "--never-ready") if what == "its server" else sized("a", memory=4)
    target = ManagedTarget([starting, sized("b")], tmp_path, memory=4)
    if what != "its target":
        await nursery.start(target.run)

    async def end() -> None:
        with pytest.raises(TargetDrained, match="has been removed"):
            await wait(target)

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            if what == "room":
                asking.start_soon(chunks_of, target, call("#stall", model="b"))
                await until(at_work(target, "b"))
            async with trio.open_nursery() as loading:
                loading.start_soon(end)
                if what == "its server":
                    await until(lambda: _running(target, 1))
                await trio.testing.wait_all_tasks_blocked()
                target.leave()
            await end()
            asking.cancel_scope.cancel()
        await target.wait_left()


async def test_a_target_that_leaves_ends_with_its_answers(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"), sized("b"))
    with trio.fail_after(20):
        await target.load(call(model="b"))
        async with trio.open_nursery() as asking:
            asking.start_soon(chunks_of, target, call(LONG))
            await until(at_work(target, "a"))
            pid = await pid_of(target, "a")
            target.leave()
            assert not await gone(pid)()
        await target.wait_left()
        assert await gone(pid)()


async def test_a_wait_for_room_ends_when_its_model_is_removed(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"), sized("b", memory=4), sized("c"))

    async def load() -> None:
        with pytest.raises(TargetDrained):
            await target.load(call(model="b"))

    with trio.fail_after(10):
        async with trio.open_nursery() as asking:
            asking.start_soon(chunks_of, target, call("#stall"))
            await until(at_work(target, "a"))
            async with trio.open_nursery() as loading:
                loading.start_soon(load)
                await trio.testing.wait_all_tasks_blocked()
                target.change([sized("a"), sized("c")], memory=4)
            assert (await chunks_of(target, call(model="c")))[-1].last
            assert (await chunks_of(target, call()))[-1].last  # `a` no longer makes room
            asking.cancel_scope.cancel()


async def test_a_wait_for_a_changed_model_ends_with_the_server_it_waits_for(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    target = await started(nursery, tmp_path, sized("a"))
    given_up = trio.CancelScope()

    async def ask() -> None:
        with given_up:
            await chunks_of(target, call("#stall"))

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await until(at_work(target, "a"))
            target.change([sized("a", env={"NEW": "1"})], memory=4)
            asking.start_soon(target.load, call())
            await trio.testing.wait_all_tasks_blocked()
            assert not target.is_loaded("a")
            given_up.cancel()
    assert target.is_loaded("a")


async def test_a_smaller_budget_ends_what_no_longer_fits(nursery: trio.Nursery, tmp_path: Path) -> None:
    models = [sized("a", memory=2), sized("b", memory=2)]
    target = await started(nursery, tmp_path, *models)
    for model in "ab":
        await target.load(call(model=model))
    await chunks_of(target, call())  # `b` is the one that was used least recently
    target.change(models, memory=3)
    assert target.is_loaded("a") and not target.is_loaded("b") and not target.room().fits(["a", "b"])
    assert (await chunks_of(target, call(model="b")))[-1].last
    assert target.is_loaded("b") and not target.is_loaded("a")
    target.change(models, memory=4)
    assert (await chunks_of(target, call()))[-1].last
    assert target.is_loaded("a") and target.is_loaded("b")


async def test_a_model_waits_for_the_memory_of_one_that_was_removed(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a", memory=3), sized("b"))
    await target.load(call(model="b"))
    order: list[str] = []

    async def ask(model: str, text: str) -> None:
        assert (await chunks_of(target, call(text, model=model)))[-1].last
        order.append(model)

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(ask, "a", LONG)
            await until(at_work(target, "a"))
            target.change([sized("b"), sized("c", memory=2)], memory=4)
            asking.start_soon(ask, "c", "hello")
            await ask("b", "hello")
            assert not target.is_loaded("c")
    assert order == ["b", "a", "c"] and target.is_loaded("b")


async def test_an_embedding_model_waits_for_the_memory_that_it_is_given(nursery: trio.Nursery, tmp_path: Path) -> None:
    chat, embedding = sized("a", memory=3), sized("e", memory=2, embedding=True)
    target = await started(nursery, tmp_path, chat, sized("b"))
    await target.load(call(model="b"))
    async with trio.open_nursery() as asking:
        asking.start_soon(chunks_of, target, call(LONG))
        await until(at_work(target, "a"))
        target.change([sized("a", memory=2), sized("b"), embedding], memory=4)
        assert target.is_loaded("a") and not target.is_loaded("b")  # no room is left beside what is set aside
        await chunks_of(target, call("hi", "/api/embed", model="e"))
        assert target.is_loaded("e") and target.is_loaded("a")


async def test_new_models_are_preloaded(nursery: trio.Nursery, tmp_path: Path, logged: Logged) -> None:
    target = await started(nursery, tmp_path, sized("a", preload=True))

    def loaded(*models: str) -> Callable[[], Awaitable[bool]]:
        async def all_loaded() -> bool:
            return all(map(target.is_loaded, models))

        return all_loaded

    await until(loaded("a"))
    pid = await pid_of(target, "a")
    target.change([sized("a", preload=True, env={"NEW": "1"}), sized("b", preload=True), sized("c")], memory=4)
    await until(loaded("a", "b"))
    assert await gone(pid)() and not target.is_loaded("c")
    assert not logged.events("a model is not preloaded: there is no room beside the others")


async def test_a_change_before_the_start_counts(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = ManagedTarget([sized("a", preload=True)], tmp_path, memory=4)
    target.change([sized("b")], memory=4)
    await nursery.start(target.run)
    assert (await chunks_of(target, call(model="b")))[-1].last and not target.is_loaded("a")


async def test_many_changes_under_load_lose_no_answer(nursery: trio.Nursery, tmp_path: Path) -> None:
    target = await started(nursery, tmp_path, sized("a"), sized("b"), sized("c"))
    done = 0

    async def ask(model: str) -> None:
        nonlocal done
        for _ in range(6):
            assert (await chunks_of(target, call("#every=0.01 #chunks=5", model=model)))[-1].last
            done += 1
            b, c = sized("b", env={"NUMBER": str(done)}), sized("c", memory=1 + done % 3)
            target.change([sized("a"), b, c], memory=4)

    with trio.fail_after(60):
        async with trio.open_nursery() as asking:
            for model in "abc":
                asking.start_soon(ask, model)
    assert done == 18
