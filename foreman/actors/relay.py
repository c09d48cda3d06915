"""The relay: the chunks of running jobs, for whoever follows them."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass

import trio

from foreman.job import RUNNING, TERMINAL, Change, State
from foreman.messages import Commit


@dataclass(frozen=True, slots=True)
class Piece:
    """Something new on a track: a chunk of the answer, a new attempt, or the change that ended the job."""

    chunk: bytes | None = None
    attempt: int | None = None  # what was sent before is void; this attempt starts over
    ended: Change | None = None


class Track:
    """What one job has said so far. Followers read by position, so a slow one holds nobody up."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.state: State | None = None  # None until the relay has heard of it
        self.attempt = 0
        self._attempts = 0  # how often it started over
        self._chunks: list[bytes] = []
        self._last: bytes | None = None  # held until the answer is on disk
        self._ended: Change | None = None
        self._news = trio.Event()

    def begin(self, attempt: int) -> None:
        """A new attempt: what the last one said is void."""
        self._attempts += 1
        self.attempt = attempt
        self._chunks, self._last = [], None
        self._tell()

    def append(self, chunk: bytes, *, last: bool = False) -> None:
        """The next chunk. The last one is shown once the job is on disk as done, so that who has it can ask for it."""
        if last:
            self._last = chunk
            return
        self._chunks.append(chunk)
        self._tell()

    def notice(self, change: Change) -> None:
        self.state = change.state
        if change.state in TERMINAL:
            if change.state is State.DONE and self._last is not None:
                self._chunks.append(self._last)
            self._ended = change
        else:
            self._ended = None
        self._tell()

    async def wait_change(self) -> None:
        """Return when anything new is on the track; ask `state` and `follow` what."""
        await self._news.wait()

    async def follow(self) -> AsyncIterator[Piece]:
        """From the first chunk to the end of the job, as it comes."""
        seen, attempt, position = self._attempts, self.attempt, 0
        while True:
            if seen != self._attempts:
                if position or (seen and attempt != self.attempt):
                    yield Piece(attempt=self.attempt)
                seen, attempt, position = self._attempts, self.attempt, 0
            elif position < len(self._chunks):
                position += 1
                yield Piece(chunk=self._chunks[position - 1])
            elif self._ended:
                yield Piece(ended=self._ended)
                return
            else:
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class Relay:
    """The tracks of the jobs that run or are followed; a track lives as long as somebody holds it."""

    def __init__(self) -> None:
        self._tracks: weakref.WeakValueDictionary[str, Track] = weakref.WeakValueDictionary()

    def track(self, job_id: str) -> Track:
        """The job's track, made when there is none. Follow it first, then read the job's state from the store: whatever
        changes after that read is told here."""
        found = self._tracks.get(job_id)
        if found is None:
            self._tracks[job_id] = found = Track(job_id)
        return found

    def notice(self, commit: Commit) -> None:
        for change in commit.changes:
            track = self._tracks.get(change.job_id)
            if track is not None:
                track.notice(change)

    def statistics(self) -> dict[str, int]:
        return {"tracks": len(self._tracks), "running": sum(t.state in RUNNING for t in self._tracks.values())}
