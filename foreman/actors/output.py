"""The relay: the chunks of running jobs, for whoever follows them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import trio

from foreman.budget import Budget, Lease
from foreman.domain.errors import ForemanError, GaveWay
from foreman.domain.job import TERMINAL, Change, State
from foreman.queue.commands import Commit
from foreman.turnstile import Turnstile

CHUNK_COST = 64  # bytes of memory that a chunk takes besides its data; a flood of tiny ones must end too


@dataclass(frozen=True, slots=True)
class Piece:
    """Something new on a track: a chunk of the answer, a new attempt, or the change that ended the job."""

    chunk: bytes | None = None
    attempt: int | None = None  # what was sent before is void; this attempt starts over
    ended: Change | None = None
    cut: GaveWay | None = None  # the rest up to that end will not come: its room went to others


class Track:
    """What one job has said so far. Followers read by position, so a slow one holds nobody up."""

    def __init__(self, job_id: str, held: Lease | None = None) -> None:
        """`held` counts what the attempt takes, and then the chunks, as long as anybody holds the track: its readers
        share them."""
        self.job_id = job_id
        self.attempt = 0
        self.result: bytes | None = None  # the whole answer, once the target has given it
        self.fault: ForemanError | None = None  # how the last attempt ended, if it did not end well
        self.turn = 0  # grows whenever an attempt starts over
        self.held = held or Budget().lease()
        self._kept = 0  # bytes of the chunks
        self.chunks: list[bytes] = []  # what the current attempt has said
        self._last: bytes | None = None  # held until the answer is on disk
        self.ended: Change | None = None
        self.cut: GaveWay | None = None  # once its chunks are gone, though not everybody has read all of them
        self.said = 0  # how many there were
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._news = trio.Event()
        self._turns = Turnstile()

    def begin(self, attempt: int) -> None:
        """A new attempt: what the last one said is void."""
        self.attempt = attempt
        self.held.keep()
        self.drop()

    def drop(self) -> None:
        """Forget what the attempt has said: it starts over."""
        self.turn += 1
        self.chunks, self._last, self._kept = [], None, 0
        self.held.free()
        self._tell()

    def append(self, chunk: bytes, *, last: bool = False) -> None:
        """The next chunk. The last one is shown once the job is on disk as done, so that who has it can ask for it.

        Raises MemoryFull.
        """
        self.held.grow(len(chunk) + CHUNK_COST)
        self._kept += len(chunk) + CHUNK_COST
        if last:
            self._last = chunk
            return
        self.chunks.append(chunk)
        self._tell()

    def rest(self) -> None:
        """Hold no more than the chunks: the attempt is over."""
        self.held.resize(self._kept)

    def notice(self, change: Change) -> None:
        if change.state in TERMINAL:
            if change.state is State.DONE and self._last is not None:
                self.chunks.append(self._last)
            self.ended = change
        else:
            self.ended = None
        if change.state in TERMINAL or change.state is State.QUEUED:
            self.held.give_way(self.let_go)
        self._tell()

    def let_go(self) -> None:
        """Keep nothing of an attempt that is over: who has not read it yet does not get it."""
        for follower in list(self._followers):
            follower.hurry()
        if self.ended is None:
            self.drop()
        else:
            self.cut, self.said = GaveWay(self.held.limit), len(self.chunks)
            self.chunks, self._kept = [], 0
            self._tell()

    def follow(self, hurry: Callable[[], None] = lambda: None) -> Follower:
        """Read from the first chunk to the end of the job. `hurry` is called when what is being read is needed."""
        follower = Follower(self, hurry)
        self._followers.add(follower)
        return follower

    async def wait(self) -> None:
        """Return when there is anything new; of many who wait, some at a time."""
        await self._news.wait()
        await self._turns.enter()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class Follower:
    """A reader's place on a track. A cancelled `next` loses nothing."""

    def __init__(self, track: Track, hurry: Callable[[], None]) -> None:
        self._track = track
        self._hurry = hurry
        self._turn, self._attempt, self._position = track.turn, track.attempt, 0
        self._over = False
        self._broke_off = False

    def hurry(self) -> None:
        """Have the reader take what it has begun to, at once or not at all."""
        self._hurry()

    def goes_on(self) -> bool:
        """Return whether the rest of the chunk that came last may still be sent; if not, it was broken off."""
        self._broke_off = self._track.cut is not None or self._turn != self._track.turn
        return not self._broke_off

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Piece:
        if self._over:
            raise StopAsyncIteration
        return await self.next()

    async def next(self) -> Piece:
        """Wait for the next piece; the last one carries the change that ended the job."""
        track = self._track
        while True:
            if self._turn != track.turn:
                again = self._position or (self._turn and self._attempt != track.attempt)
                self._turn, self._attempt, self._position = track.turn, track.attempt, 0
                if again:
                    return Piece(attempt=track.attempt)
            elif track.cut and (self._position < track.said or self._broke_off):
                self._over = True
                return Piece(cut=track.cut, ended=track.ended)
            elif self._position < len(track.chunks):
                self._position += 1
                return Piece(chunk=track.chunks[self._position - 1])
            elif track.ended:
                self._over = True
                return Piece(ended=track.ended)
            else:
                await track.wait()


class Relay:
    """The tracks of the jobs that run or are followed; a track lives as long as somebody holds it."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._tracks: weakref.WeakValueDictionary[str, Track] = weakref.WeakValueDictionary()

    def track(self, job_id: str) -> Track:
        """The job's track, made when there is none. Follow it first, then read the job's state from the store: whatever
        changes after that read is told here."""
        found = self._tracks.get(job_id)
        if found is None:
            self._tracks[job_id] = found = Track(job_id, self._budget.lease())
        return found

    def notice(self, commit: Commit) -> None:
        for change in commit.changes:
            track = self._tracks.get(change.job_id)
            if track is not None:
                track.notice(change)
