"""The output hub: the chunks of running jobs, for the clients that stream them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import islice

import msgspec
import trio

from foreman.budget import Budget, Lease
from foreman.domain.answers.chunk import NO_LABEL, Label
from foreman.domain.errors import ForemanError, GaveWay
from foreman.domain.job import RUNNING, TERMINAL, JobEvent, State
from foreman.queue.commands import Commit
from foreman.turnstile import Turnstile

MOST_ERRORS = 256  # errors that are remembered
CHUNK_COST = 64  # bytes of memory that a chunk takes besides its data; a flood of tiny chunks must hit the limit too


class OutputItem(msgspec.Struct, frozen=True):
    """An entry of an output log: a chunk of the answer, a new attempt, or the event that ended the job."""

    chunk: bytes | None = None
    label: Label = NO_LABEL  # of the chunk
    attempt: int | None = None  # a new attempt: the chunks sent before are void
    ended: JobEvent | None = None
    cut: GaveWay | None = None  # the remaining chunks were dropped to make room for others


class OutputLog:
    """The output of one job so far. Readers read by position, so that a slow one blocks no other."""

    def __init__(
        self, job_id: str, held: Lease | None = None, on_follow: Callable[[OutputLog], None] | None = None
    ) -> None:
        """Create an empty log; `on_follow` is called when a reader begins.

        `held` counts the bytes of the running attempt, then those of the chunks, for as long as the log is referenced.
        """
        self.job_id = job_id
        self.is_stored = False  # True once the store is known to have the job
        self._on_follow = on_follow
        self.is_remote = False  # its chunks come from another node: the end of a done job waits for the last ones
        self._due: JobEvent | None = None  # the end that waits
        self.attempt = 0
        self.result: bytes | None = None  # the whole answer, once it is complete
        self.error: ForemanError | None = None  # of the last attempt
        self.turn = 0  # grows whenever an attempt starts over
        self.held = held or Budget().lease()
        self._kept = 0  # bytes of the chunks
        self.chunks: list[bytes] = []  # of the current attempt
        self._labels: list[Label] = []  # of the chunks
        self._last: tuple[bytes, Label] | None = None  # held back until the answer is on disk
        self.ended: JobEvent | None = None
        self.runs = False  # True once a slot has the job, as far as this log has heard
        self.cut: GaveWay | None = None  # set once the chunks were dropped before all readers had them
        self.said = 0  # number of chunks before the cut
        self.shown = False  # True once somebody was given a chunk of the current attempt
        self._readers: weakref.WeakSet[OutputReader] | None = None  # made by the first reader
        self._news: trio.Event | None = None  # made by the first reader that waits
        self._end: trio.Event | None = None  # the same, for those that wait for the end alone
        self._turns: Turnstile | None = None  # made once several readers wait

    def begin(self, attempt: int) -> None:
        """Start a new attempt: the chunks of the one before are void."""
        self.attempt = attempt
        self.held.keep()
        self.drop()

    def drop(self) -> None:
        """Forget the chunks: the attempt starts over."""
        self.turn += 1
        self.chunks, self._labels, self._last, self._kept = [], [], None, 0
        self.shown = False
        self.held.free()
        self._tell()

    def append(self, chunk: bytes, label: Label = NO_LABEL, *, last: bool = False) -> None:
        """Append a chunk. The last one is held back until the job is done on disk: a reader that has it can fetch it.

        Raise MemoryFull when the chunk finds no room in the budget.
        """
        self.held.grow(len(chunk) + CHUNK_COST)
        self._kept += len(chunk) + CHUNK_COST
        if last:
            self._last = chunk, label
            return
        self._add(chunk, label)
        self._tell()

    def rest(self) -> None:
        """End the attempt: keep counting the chunks alone."""
        self.held.resize(self._kept)

    def on_commit(self, event: JobEvent) -> None:
        """Record the job's end, or that it runs again."""
        self.runs = event.state in RUNNING
        self.is_stored = True
        if event.state is State.DONE and self.is_remote:
            self._due = event
            return
        if event.state in TERMINAL:
            if event.state is State.DONE and self._last is not None:
                self._add(*self._last)
            self.ended = event
            if self._end is not None:
                self._end.set()
                self._end = None
        else:
            self.ended = None
        if event.state in TERMINAL or event.state is State.QUEUED:
            self.held.give_way(self)
        self._tell()

    def complete(self, *, whole: bool) -> None:
        """Record that no more chunks come from the other node; without a `whole` answer they are void.

        Readers then find nothing before the end, as those that come after it: also when the end is yet to be heard of.
        """
        self.is_remote = False
        due, self._due = self._due, None
        if not whole:
            self.drop()
        if due is not None:
            self.on_commit(due)

    def let_go(self) -> None:
        """Drop the chunks of an attempt that has ended; slow readers get the error instead of the rest."""
        for reader in list(self._readers or ()):
            reader.hurry()
        if self.ended is None:
            self.drop()
        else:
            self.cut, self.said = GaveWay(self.held.limit), len(self.chunks)
            self.chunks, self._labels, self._kept = [], [], 0
            self._tell()

    def label(self, position: int) -> Label:
        """Return the label of the chunk at a position."""
        return self._labels[position]

    def follow(self, hurry: Callable[[], None] = lambda: None, begin: int = 0) -> OutputReader:
        """Return a reader from the first chunk to the end of the job. `hurry` is called before chunks are dropped.

        One that has `begin` chunks of the attempt already gets those after them.
        """
        reader = OutputReader(self, hurry, begin)
        if self._readers is None:
            self._readers = weakref.WeakSet()
        self._readers.add(reader)
        if self._on_follow is not None:
            self._on_follow(self)
        return reader

    @property
    def is_followed(self) -> bool:
        """Return True while it has a reader."""
        return bool(self._readers)

    async def wait_ended(self) -> JobEvent:
        """Return the event that ended the job, once there is one."""
        while self.ended is None:
            if self._end is None:
                self._end = trio.Event()
            await self._end.wait()
        return self.ended

    async def wait(self) -> None:
        """Return when there is something new; many waiters return a few at a time."""
        if self._news is None:
            self._news = trio.Event()
        await self._news.wait()
        if self._readers is not None and len(self._readers) > 1:
            self._turns = self._turns or Turnstile()
            await self._turns.enter()

    def _add(self, chunk: bytes, label: Label) -> None:
        self.chunks.append(chunk)
        self._labels.append(label)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


class OutputReader:
    """A reader's position in an output log. A cancelled `next` loses nothing."""

    def __init__(self, output: OutputLog, hurry: Callable[[], None], begin: int) -> None:
        self._output = output
        self._hurry = hurry
        self._turn, self._attempt, self._position = output.turn, output.attempt, begin
        self._over = False
        self._broke_off = False

    def hurry(self) -> None:
        """Ask the reader to finish the chunk it is sending at once, or to break it off."""
        self._hurry()

    def goes_on(self) -> bool:
        """Return True if the rest of the last chunk may still be sent; if not, record that it was broken off."""
        self._broke_off = self._output.cut is not None or self._turn != self._output.turn
        return not self._broke_off

    def __aiter__(self) -> OutputReader:
        return self

    async def __anext__(self) -> OutputItem:
        if self._over:
            raise StopAsyncIteration
        return await self.next()

    async def next(self) -> OutputItem:
        """Wait for the next item; the last one carries the event that ended the job."""
        while (item := self.next_nowait()) is None:
            await self._output.wait()
        return item

    def next_nowait(self) -> OutputItem | None:
        """Return the next item, None if it has yet to come."""
        output = self._output
        if self._turn != output.turn:
            again = self._position or (self._turn and self._attempt != output.attempt)
            self._turn, self._attempt, self._position = output.turn, output.attempt, 0
            if again:
                return OutputItem(attempt=output.attempt)
        if output.cut and (self._position < output.said or self._broke_off):
            self._over = True
            return OutputItem(cut=output.cut, ended=output.ended)
        if self._position < len(output.chunks):
            self._position += 1
            output.shown = True
            at = self._position - 1
            return OutputItem(output.chunks[at], output.label(at))
        if output.ended:
            self._over = True
            return OutputItem(ended=output.ended)
        return None

    def more(self, room: int) -> list[tuple[bytes, Label]]:
        """Return the chunks after the last one that are there already, as many as fit into `room` bytes."""
        output, begin = self._output, self._position
        if self._turn != output.turn or output.cut:
            return []
        for chunk in islice(output.chunks, begin, None):
            room -= len(chunk)
            if room < 0:
                break
            self._position += 1
        return [(output.chunks[at], output.label(at)) for at in range(begin, self._position)]


class OutputHub:
    """The output logs of jobs that run or are streamed; a log lives as long as something references it."""

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._outputs: weakref.WeakValueDictionary[str, OutputLog] = weakref.WeakValueDictionary()
        self.errors: dict[str, ForemanError] = {}  # the latest of jobs run here, for callers at other nodes
        self.on_follow: Callable[[OutputLog], None] | None = None  # called when a log, made later, gets a reader

    def output(self, job_id: str) -> OutputLog:
        """Return the job's output log; create it if needed.

        Follow it first, then read the job's state from the store, so that no event is missed in between.
        """
        found = self._outputs.get(job_id)
        if found is None:
            self._outputs[job_id] = found = OutputLog(job_id, self._budget.lease(), self.on_follow)
        return found

    def find(self, job_id: str) -> OutputLog | None:
        """Return the job's output log if there is one."""
        return self._outputs.get(job_id)

    def failed(self, job_id: str, error: ForemanError) -> None:
        """Remember the error of a job's attempt for a while, and nothing that it came from."""
        error.__cause__ = error.__context__ = None
        self.errors.pop(job_id, None)
        self.errors[job_id] = error
        if len(self.errors) > MOST_ERRORS:
            del self.errors[next(iter(self.errors))]

    def followed(self) -> list[OutputLog]:
        """Return the logs that have readers."""
        return [output for output in list(self._outputs.values()) if output.is_followed]

    def without_end(self) -> list[OutputLog]:
        """Return the logs of stored jobs that have not ended."""
        return [output for output in list(self._outputs.values()) if output.is_stored and output.ended is None]

    def on_commit(self, commit: Commit) -> None:
        """Pass the events of a commit to the output logs of their jobs."""
        for event in commit.all_events:
            output = self._outputs.get(event.job_id)
            if output is not None:
                output.on_commit(event)
