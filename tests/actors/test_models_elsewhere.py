"""Models that other nodes' targets serve."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import Inventory
from foreman.actors.models_elsewhere import ModelsElsewhere
from foreman.actors.worker import Worker
from foreman.config.target_settings import TargetSettings
from foreman.domain.errors import ModelNotFound, TargetDown, TargetUnavailable
from foreman.domain.nodes import Node, NodeState, TargetReport
from foreman.queue.commands import Queue
from foreman.queue.outlook import Outlook
from foreman.queue.sites import SiteElsewhere
from foreman.targets.protocol import Model
from tests.support.actors import FakeTarget, IdleWorker


class NoQueue:
    async def tell(self, message: object) -> None:
        await trio.lowlevel.checkpoint()


def report(name: str, *models: str | Model, **fields: Any) -> TargetReport:
    listed = [Model(name=one) if isinstance(one, str) else one for one in models]
    names = frozenset(one.name.removesuffix(":latest") for one in listed)
    plain: dict[str, Any] = {"slots": 1, "open": True, "models_known": True, "models": names}
    listing = msgspec.Raw(msgspec.json.encode(listed))
    return TargetReport(name=name, listing=listing, **(plain | fields))


def told(outlook: Outlook, *reports: TargetReport, gone: bool = False) -> None:
    """Have the outlook hear of targets of the node b, which may have gone since."""
    state = NodeState.GONE if gone else NodeState.UP
    times: dict[str, Any] = {"seen_at": 0.0, "heard_since": 0.0}
    node = Node(name="b", url=None, version="1", epoch=1, state=state, targets=tuple(reports), **times)
    outlook.nodes_elsewhere = {"b": node}
    outlook.sites_elsewhere = {one.name: SiteElsewhere(one, claims=not gone) for one in reports}


async def a_fleet(outlook: Outlook, *models: str, down: bool = False) -> Fleet:
    target = FakeTarget(inventory=list(models))
    queue = cast(Queue, NoQueue())
    inventory = Inventory(target, queue, poll_interval=30)
    await inventory.probe()
    if down:
        target.down = TargetUnavailable("it", "away")
        await inventory.probe()
    member = Member(TargetSettings(name="t", managed=True), target, inventory, cast(Worker, IdleWorker()))
    return Fleet([member], queue, elsewhere=ModelsElsewhere(outlook))


@pytest.mark.parametrize(
    ("listed", "is_ollama", "asked", "found"),
    [
        ("llama3:latest", True, "llama3", True),
        ("llama3:latest", True, "LLAMA3", True),
        ("llama3:latest", True, "library/llama3:latest", True),
        ("llama3:8b", True, "llama3", False),
        ("llama3", False, "llama3:latest", True),
        ("llama3:latest", False, "llama3", True),
        ("llama3", False, "LLAMA3", False),
        ("org/Model", False, "org/Model", True),
    ],
)
async def test_names_are_equal_as_the_other_target_has_it(
    listed: str, is_ollama: bool, asked: str, found: bool
) -> None:
    outlook = Outlook()
    told(outlook, report("t@b", listed, is_ollama=is_ollama))
    fleet = await a_fleet(outlook, "own")
    if found:
        assert (await fleet.resolve(asked)).name == listed
    else:
        with pytest.raises(ModelNotFound) as error:
            await fleet.resolve(asked)
        assert error.value.hint == f"the targets have: own, {listed}"


async def test_an_alias_elsewhere_is_known(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    told(outlook, report("t@b", Model(name="long", aliases=("short",))))
    fleet = await a_fleet(outlook, "own")
    assert (await fleet.resolve("short")).name == "long"


async def test_all_nodes_models_are_listed_once(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    told(outlook, report("t@b", "own:latest", "b"), report("u@b", "b", "c", open=False))
    fleet = await a_fleet(outlook, "own")
    assert [model.name for model in fleet.models()] == ["own", "b", "c"]


async def test_a_list_is_built_anew_only_when_it_has_changed(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    told(outlook, first := report("t@b", "b"))
    fleet = await a_fleet(outlook, "own")
    built: list[list[str]] = []

    def build(models: Any) -> bytes:
        built.append([model.name for model in models])
        return b""

    await fleet.shown(build)
    told(outlook, replace(first, loaded=("b",)))
    await fleet.shown(build)
    told(outlook, report("t@b", "c"))
    await fleet.shown(build)
    assert built == [["own", "b"], ["own", "c"]]


async def test_what_other_nodes_have_loaded_is_listed(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    told(outlook, report("t@b", "b", "c", loaded=('c {"num_ctx":5}',)))
    assert [model.name for model in ModelsElsewhere(outlook).loaded()] == ["c"]


async def test_a_node_that_left_may_come_back_to_its_models(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    fleet = await a_fleet(outlook, "own")
    told(outlook, report("t@b", "b", loaded=("b",)), gone=True)
    assert [model.name for model in fleet.models()] == ["own", "b"]
    assert (await fleet.resolve("b")).name == "b"
    assert fleet.elsewhere.loaded() == []
    assert fleet.elsewhere.nodes("b", "/api/embed") == []
    outlook.sites_elsewhere = {}  # after a day
    with pytest.raises(ModelNotFound):
        await fleet.resolve("b")


async def test_a_target_that_has_not_listed_its_models_may_have_it(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    told(outlook, report("t@b", models_known=False))
    with pytest.raises(TargetDown, match="t@b"):
        await (await a_fleet(outlook, "own")).resolve("b")


async def test_a_target_here_that_is_away_hides_no_model_elsewhere(autojump_clock: MockClock) -> None:
    outlook = Outlook()
    fleet = await a_fleet(outlook, "own", down=True)
    told(outlook, report("t@b", "b"))
    assert (await fleet.resolve("b")).name == "b"
    assert fleet.any_up
    assert not fleet.up


async def test_calls_go_first_to_the_node_that_has_the_model_loaded(autojump_clock: MockClock) -> None:
    outlook, at = Outlook(), {"endpoints": frozenset({"/api/embed"})}
    times: dict[str, Any] = {
        "url": None,
        "version": "1",
        "epoch": 1,
        "state": NodeState.UP,
        "seen_at": 0.0,
        "heard_since": 0.0,
    }
    reports = [
        report("t@b", "m", **at),
        report("t@c", "m", loaded=("m",), **at),
        report("t@d", "m", open=False, **at),
        report("t@e", "m"),
    ]
    outlook.nodes_elsewhere = {one.name[2:]: Node(name=one.name[2:], targets=(one,), **times) for one in reports}
    outlook.sites_elsewhere = {one.name: SiteElsewhere(one, claims=True) for one in reports}
    assert ModelsElsewhere(outlook).nodes("m", "/api/embed") == ["c", "b"]
