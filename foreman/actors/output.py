"""The relay: the chunks of running jobs, for whoever follows them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import trio

from foreman.budget import Budget, Lease
from foreman.domain.errors import ForemanError, GaveWay
from foreman.domain.job import TERMINAL, JobEvent, State
from foreman.queue.commands import Commit
from foreman.turnstile import Turnstile

CHUNK_COST = 64  # bytes of memory that a chunk takes besides its data; a flood of tiny ones must end too


@dataclass(frozen=True, slots=True)
class OutputItem:
    """Something new on a track: a chunk of the answer, a new attempt, or the change that ended the job."""

    chunk: bytes | None = None
    attempt: int | None = None  # what was sent before is void; this attempt starts over
    ended: JobEvent | None = None
    cut: GaveWay | None = None  # the rest up to that end will not come: its room went to others


class OutputLog:
    """What one job has said so far. Followers read by position, so a slow one holds nobody up."""

    def __init__(self, job_id: str, held: Lease | None = None) -> None:
        """`held` counts what the attempt takes, and then the chunks, as long as anybody holds the track: its readers
        share them."""
        self.job_id = job_id
        self.attempt = 0
        self.result: bytes | None = None  # the whole answer, once the target has given it
        self.error: ForemanError | None = None  # how the last attempt ended, if it did not end well
        self.turn = 0  # grows whenever an attempt starts over
        self.held = held or Budget().fence()
        self._kept = 0  # bytes of the chunks
        self.chunks: list[bytes] = []  # what the current attempt has said
        self._last: bytes | None = None  # held until the answer is on disk
        self.ended: JobEvent | None = None
        self.cut: GaveWay | None = None  # once its chunks are gone, though not everybody has read all of them
        self.said = 0  # how many there were
        self._followers: weakref.WeakSet[OutputReader] = weakref.WeakSet()
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

    def on_commit(self, event: JobEvent) -> None:
        if event.state in TERMINAL:
            if event.state is State.DONE and self._last is not None:
                self.chunks.append(self._last)
            self.ended = event
        else:
            self.ended = None
        if event.state in TERMINAL or event.state is State.QUEUED:
            self.held.give_way(self.let_go)
        self._tell()

    def let_go(self) -> None:
        """Keep nothing of an attempt that is over: who has not read it yet does not get it."""
        for reader in list(self._followers):
            reader.hurry()
        if self.ended is None:
            self.drop()
        else:
            self.cut, self.said = GaveWay(self.held.limit), len(self.chunks)
            self.chunks, self._kept = [], 0
            self._tell()

    def follow(self, hurry: Callable[[], None] = lambda: None) -> OutputReader:
        """Read from the first chunk to the end of the job. `hurry` is called when what is being read is needed."""
        reader = OutputReader(self, hurry)
        self._followers.add(reader)
        return reader

    async def wait(self) -> None:
        """Return when there is anything new; of many who wait, some at a time."""
        await self._news.wait()
        await self._turns.enter()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class OutputReader:
    """A reader's place on a track. A cancelled `next` loses nothing."""

    def __init__(self, output: OutputLog, hurry: Callable[[], None]) -> None:
        self._output = output
        self._hurry = hurry
        self._turn, self._attempt, self._position = output.turn, output.attempt, 0
        self._over = False
        self._broke_off = False

    def hurry(self) -> None:
        """Have the reader take what it has begun to, at once or not at all."""
        self._hurry()

    def goes_on(self) -> bool:
        """Return whether the rest of the chunk that came last may still be sent; if not, it was broken off."""
        self._broke_off = self._output.cut is not None or self._turn != self._output.turn
        return not self._broke_off

    def __aiter__(self) -> OutputReader:
        return self

    async def __anext__(self) -> OutputItem:
        if self._over:
            raise StopAsyncIteration
        return await self.next()

    async def next(self) -> OutputItem:
        """Wait for the next piece; the last one carries the change that ended the job."""
        output = self._output
        while True:
            if self._turn != output.turn:
                again = self._position or (self._turn and self._attempt != output.attempt)
                self._turn, self._attempt, self._position = output.turn, output.attempt, 0
                if again:
                    return OutputItem(attempt=output.attempt)
            elif output.cut and (self._position < output.said or self._broke_off):
                self._over = True
                return OutputItem(cut=output.cut, ended=output.ended)
            elif self._position < len(output.chunks):
                self._position += 1
                return OutputItem(chunk=output.chunks[self._position - 1])
            elif output.ended:
                self._over = True
                return OutputItem(ended=output.ended)
            else:
                await output.wait()


class OutputHub:
    """The tracks of the jobs that run or are followed; a track lives as long as somebody holds it."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._outputs: weakref.WeakValueDictionary[str, OutputLog] = weakref.WeakValueDictionary()

    def output(self, job_id: str) -> OutputLog:
        """The job's track, made when there is none. Follow it first, then read the job's state from the store: whatever
        changes after that read is told here."""
        found = self._outputs.get(job_id)
        if found is None:
            self._outputs[job_id] = found = OutputLog(job_id, self._budget.fence())
        return found

    def on_commit(self, commit: Commit) -> None:
        for event in commit.events:
            output = self._outputs.get(event.job_id)
            if output is not None:
                output.on_commit(event)
