"""The output hub: what running jobs say, for their followers."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from foreman.actors.output import OutputHub, OutputItem, OutputLog
from foreman.domain.answers.chunk import NO_LABEL
from foreman.domain.job import JobEvent, State
from foreman.queue.commands import Commit


def event(state: State, *, job_id: str = "j") -> JobEvent:
    return JobEvent(seq=1, job_id=job_id, state=state, previous=None, at=0, model="m", attempt=1)


DONE = event(State.DONE)


class Reader:
    """Follows a track in a task of its own."""

    def __init__(self, output: OutputLog) -> None:
        self.pieces: list[OutputItem] = []
        self._output = output

    async def run(self) -> None:
        async for piece in self._output.follow():
            self.pieces.append(piece)

    @property
    def said(self) -> list[object]:
        return [piece.chunk or piece.attempt or (piece.ended and piece.ended.state) for piece in self.pieces]


async def following(output: OutputLog, nursery: trio.Nursery) -> Reader:
    reader = Reader(output)
    nursery.start_soon(reader.run)
    await wait_all_tasks_blocked()
    return reader


async def test_a_reader_from_the_start_gets_every_chunk_and_the_end(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    reader = await following(output, nursery)
    output.begin(1)
    for chunk in (b"a", b"b"):
        output.append(chunk)
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", b"b", State.DONE]


async def test_a_late_reader_gets_the_same_from_the_first_chunk(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    output.begin(1)
    output.append(b"a")
    late = await following(output, nursery)
    output.append(b"b")
    output.on_commit(DONE)
    after_the_end = await following(output, nursery)
    assert late.said == after_the_end.said == [b"a", b"b", State.DONE]


async def test_the_last_chunk_is_held_until_the_job_is_on_disk_as_done(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    reader = await following(output, nursery)
    output.begin(1)
    output.append(b"a")
    output.append(b"end", last=True)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a"]
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", b"end", State.DONE]


async def test_the_last_chunk_is_never_shown_of_a_job_that_did_not_end_well(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    reader = await following(output, nursery)
    output.begin(1)
    output.append(b"end", last=True)
    output.on_commit(event(State.CANCELLED))
    await wait_all_tasks_blocked()
    assert reader.said == [State.CANCELLED]


async def test_a_new_attempt_is_told_to_those_who_heard_the_last_one(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    reader = await following(output, nursery)
    output.begin(1)
    output.append(b"half")
    await wait_all_tasks_blocked()
    output.begin(2)
    newcomer = await following(output, nursery)
    output.append(b"whole")
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"half", 2, b"whole", State.DONE]
    assert newcomer.said == [b"whole", State.DONE]


async def test_a_reader_who_joins_before_the_first_attempt_is_told_of_no_restart(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    reader = await following(output, nursery)
    output.on_commit(event(State.LOADING))
    output.begin(3)
    output.append(b"a")
    await wait_all_tasks_blocked()
    assert reader.said == [b"a"]


async def test_a_job_that_waits_again_has_not_ended(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    output.on_commit(event(State.FAILED))
    output.on_commit(event(State.QUEUED))
    reader = await following(output, nursery)
    output.begin(1)
    output.append(b"a")
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", State.DONE]


async def test_a_slow_reader_holds_nobody_up_and_misses_nothing(nursery: trio.Nursery) -> None:
    output = OutputLog("j")
    output.begin(1)
    slow = output.follow()
    output.append(b"0")
    assert (await anext(slow)).chunk == b"0"
    fast = await following(output, nursery)
    for n in range(1, 1000):
        output.append(b"%d" % n)
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert len(fast.said) == 1001
    assert [piece.chunk async for piece in slow] == [*(b"%d" % n for n in range(1, 1000)), None]


async def test_a_reader_that_was_interrupted_goes_on_where_it_was() -> None:
    output = OutputLog("j")
    output.begin(1)
    reader = output.follow()
    with trio.move_on_after(0):
        await reader.next()
    output.append(b"a")
    assert (await reader.next()).chunk == b"a"


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_the_output_hub_passes_changes_to_the_logs_that_somebody_holds(state: State) -> None:
    hub = OutputHub()
    held, other = hub.output("j"), hub.output("other")
    hub.on_commit(Commit([event(state), event(state, job_id="nobody follows")]))
    assert held.ended is not None and held.ended.state is state
    assert other.ended is None
    assert hub.output("j") is held


def test_a_track_that_nobody_holds_is_gone() -> None:
    hub = OutputHub()
    output = hub.output("j")
    output.append(b"a")
    del output
    gc.collect()
    assert hub.output("j").chunks == []


def test_chunks_that_came_together_are_taken_together() -> None:
    output = OutputLog("j")
    output.begin(1)
    reader = output.follow()
    for chunk in (b"a", b"bb", b"ccc", b"d"):
        output.append(chunk)
    first = reader.next_nowait()
    assert first is not None and first.chunk == b"a"
    assert reader.more(5) == [(b"bb", NO_LABEL), (b"ccc", NO_LABEL)]
    assert reader.more(0) == []
    assert reader.more(9) == [(b"d", NO_LABEL)]
    assert reader.more(9) == []
    assert reader.next_nowait() is None
    output.on_commit(DONE)
    ended = reader.next_nowait()
    assert ended is not None and ended.ended is DONE


@pytest.mark.parametrize("end", ["begin", "let_go"])
def test_no_more_chunks_are_taken_of_an_attempt_that_is_over(end: str) -> None:
    output = OutputLog("j")
    output.begin(1)
    reader = output.follow()
    for chunk in (b"a", b"b"):
        output.append(chunk)
    assert reader.next_nowait() == OutputItem(b"a")
    if end == "begin":
        output.begin(2)
        output.append(b"A")
        assert reader.more(9) == []
        assert reader.next_nowait() == OutputItem(attempt=2)
    else:
        output.on_commit(DONE)
        output.let_go()
        assert reader.more(9) == []
        cut = reader.next_nowait()
        assert cut is not None and cut.cut is output.cut


async def test_one_who_waits_for_the_end_alone_wakes_for_nothing_else(nursery: trio.Nursery) -> None:
    output, ends = OutputLog("j"), list[JobEvent]()

    async def wait() -> None:
        ends.append(await output.wait_ended())

    nursery.start_soon(wait)
    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    output.begin(1)
    output.append(b"a")
    output.on_commit(event(State.QUEUED))
    output.begin(2)
    await wait_all_tasks_blocked()
    assert not ends
    output.on_commit(DONE)
    await wait()
    await wait_all_tasks_blocked()
    assert ends == [DONE] * 3


async def test_an_end_that_is_taken_back_at_once_is_none(nursery: trio.Nursery) -> None:
    output, ends = OutputLog("j"), list[JobEvent]()

    async def wait() -> None:
        ends.append(await output.wait_ended())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    output.on_commit(event(State.FAILED))
    output.on_commit(event(State.QUEUED))  # retried, before the other task ran
    await wait_all_tasks_blocked()
    assert not ends
    output.on_commit(DONE)
    await wait_all_tasks_blocked()
    assert ends == [DONE]
