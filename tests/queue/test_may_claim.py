"""Which nodes a commit names as those that may claim what it has queued."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from foreman.domain.nodes import NodeState
from foreman.queue.commands import Claim, Look, Message, Pause, Submit, SubmitMany
from foreman.store.sqlite.writer import SqliteWriter
from tests.queue.test_following import Node
from tests.support.actors import draft
from tests.support.shared import Roll


@pytest.fixture
def nodes(data_dir: Path) -> Iterator[list[Node]]:
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        roll = Roll()
        yield [Node(store, name, roll) for name in "abcd"]


def told(node: Node, *messages: Message[Any]) -> Collection[str]:
    return node.handlers.apply(messages)[1].may_claim


def submit(number: int, model: str = "m") -> Submit:
    return Submit(draft=draft(number, model=model))


def test_the_node_that_has_the_model_loaded_comes_first(nodes: list[Node]) -> None:
    a, b, c, d = nodes
    b.beat()
    c.beat("m")
    d.beat(models="x")
    assert told(a, submit(1)) == ["c"]
    assert told(a, SubmitMany(drafts=[draft(number, model="m") for number in range(2, 5)])) == ["c", "b"]
    assert told(a, submit(5, "x")) == ["d"]


def test_a_node_without_a_free_slot_is_not_named(nodes: list[Node]) -> None:
    a, b, _, _ = nodes
    b.beat(slots=1)
    assert told(a, submit(1)) == ["b"]
    assert b.claim() is not None
    assert told(a, submit(2)) == []


def test_a_node_that_drains_is_not_named(nodes: list[Node]) -> None:
    a, b, _, _ = nodes
    b.beat(state=NodeState.DRAINING)
    assert told(a, submit(1)) == []


def test_nobody_is_named_while_the_queue_is_paused(nodes: list[Node]) -> None:
    a, b, _, _ = nodes
    b.beat()
    a.say(Pause())
    assert not told(a, submit(1))


def test_what_is_claimed_here_is_left_to_nobody(nodes: list[Node]) -> None:
    a, b, _, _ = nodes
    b.beat()
    assert not told(a, Claim(target="t@a", loaded=lambda key: True), submit(1))


def test_a_look_tells_what_others_have_committed_and_takes_no_lock(nodes: list[Node]) -> None:
    a, b, _, _ = nodes
    a.say(submit(1))
    seen = b.roll.nodes["b"].seen_at
    b.now += 1
    assert b.apply(look := Look()) == {id(look): None}
    assert [event.job_id for event in b.heard] == ["001"]
    assert b.roll.nodes["b"].seen_at == seen
    assert b.apply(look := Look(), submit(2))[id(look)] is None
