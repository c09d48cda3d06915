"""The relay: what running jobs say, for whoever follows them."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from foreman.actors.output import Piece, Relay, Track
from foreman.domain.job import Change, State
from foreman.queue.commands import Commit


def change(state: State, *, job_id: str = "j") -> Change:
    return Change(seq=1, job_id=job_id, state=state, previous=None, at=0, model="m", attempt=1)


DONE = change(State.DONE)


class Reader:
    """Follows a track in a task of its own."""

    def __init__(self, track: Track) -> None:
        self.pieces: list[Piece] = []
        self._track = track

    async def run(self) -> None:
        async for piece in self._track.follow():
            self.pieces.append(piece)

    @property
    def said(self) -> list[object]:
        return [piece.chunk or piece.attempt or (piece.ended and piece.ended.state) for piece in self.pieces]


async def following(track: Track, nursery: trio.Nursery) -> Reader:
    reader = Reader(track)
    nursery.start_soon(reader.run)
    await wait_all_tasks_blocked()
    return reader


async def test_a_reader_from_the_start_gets_every_chunk_and_the_end(nursery: trio.Nursery) -> None:
    track = Track("j")
    reader = await following(track, nursery)
    track.begin(1)
    for chunk in (b"a", b"b"):
        track.append(chunk)
    track.notice(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", b"b", State.DONE]


async def test_a_late_reader_gets_the_same_from_the_first_chunk(nursery: trio.Nursery) -> None:
    track = Track("j")
    track.begin(1)
    track.append(b"a")
    late = await following(track, nursery)
    track.append(b"b")
    track.notice(DONE)
    after_the_end = await following(track, nursery)
    assert late.said == after_the_end.said == [b"a", b"b", State.DONE]


async def test_the_last_chunk_is_held_until_the_job_is_on_disk_as_done(nursery: trio.Nursery) -> None:
    track = Track("j")
    reader = await following(track, nursery)
    track.begin(1)
    track.append(b"a")
    track.append(b"end", last=True)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a"]
    track.notice(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", b"end", State.DONE]


async def test_the_last_chunk_is_never_shown_of_a_job_that_did_not_end_well(nursery: trio.Nursery) -> None:
    track = Track("j")
    reader = await following(track, nursery)
    track.begin(1)
    track.append(b"end", last=True)
    track.notice(change(State.CANCELLED))
    await wait_all_tasks_blocked()
    assert reader.said == [State.CANCELLED]


async def test_a_new_attempt_is_told_to_those_who_heard_the_last_one(nursery: trio.Nursery) -> None:
    track = Track("j")
    reader = await following(track, nursery)
    track.begin(1)
    track.append(b"half")
    await wait_all_tasks_blocked()
    track.begin(2)
    newcomer = await following(track, nursery)
    track.append(b"whole")
    track.notice(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"half", 2, b"whole", State.DONE]
    assert newcomer.said == [b"whole", State.DONE]


async def test_a_reader_who_joins_before_the_first_attempt_is_told_of_no_restart(nursery: trio.Nursery) -> None:
    track = Track("j")
    reader = await following(track, nursery)
    track.notice(change(State.LOADING))
    track.begin(3)
    track.append(b"a")
    await wait_all_tasks_blocked()
    assert reader.said == [b"a"]


async def test_a_job_that_waits_again_has_not_ended(nursery: trio.Nursery) -> None:
    track = Track("j")
    track.notice(change(State.FAILED))
    track.notice(change(State.QUEUED))
    reader = await following(track, nursery)
    track.begin(1)
    track.append(b"a")
    track.notice(DONE)
    await wait_all_tasks_blocked()
    assert reader.said == [b"a", State.DONE]


async def test_a_slow_reader_holds_nobody_up_and_misses_nothing(nursery: trio.Nursery) -> None:
    track = Track("j")
    track.begin(1)
    slow = track.follow()
    track.append(b"0")
    assert (await anext(slow)).chunk == b"0"
    fast = await following(track, nursery)
    for n in range(1, 1000):
        track.append(b"%d" % n)
    track.notice(DONE)
    await wait_all_tasks_blocked()
    assert len(fast.said) == 1001
    assert [piece.chunk async for piece in slow] == [*(b"%d" % n for n in range(1, 1000)), None]


async def test_a_reader_that_was_interrupted_goes_on_where_it_was() -> None:
    track = Track("j")
    track.begin(1)
    follower = track.follow()
    with trio.move_on_after(0):
        await follower.next()
    track.append(b"a")
    assert (await follower.next()).chunk == b"a"


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_the_relay_passes_changes_to_the_tracks_that_somebody_holds(state: State) -> None:
    relay = Relay()
    held, other = relay.track("j"), relay.track("other")
    relay.notice(Commit([change(state), change(state, job_id="nobody follows")]))
    assert held.ended is not None and held.ended.state is state
    assert other.ended is None
    assert relay.track("j") is held


def test_a_track_that_nobody_holds_is_gone() -> None:
    relay = Relay()
    track = relay.track("j")
    track.append(b"a")
    del track
    gc.collect()
    assert relay.track("j").chunks == []
