"""The output of jobs that run at other nodes, for the clients that stream them here."""

from __future__ import annotations

import weakref
from contextlib import suppress

import msgspec
import structlog
import trio

from foreman.actors.other_nodes import OtherNodes
from foreman.actors.output import CHUNK_COST, OutputHub, OutputLog
from foreman.domain.errors import ForemanError, JobUnreadable, MemoryFull, TargetError, TargetGarbled
from foreman.domain.job import RUNNING, JobEvent, State, node_of
from foreman.domain.node_auth import BETWEEN_NODES
from foreman.domain.output_frames import Began, Ended, FrameReader, Malformed, Piece, ShownError
from foreman.queue.commands import Commit
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

SILENCE = 10.0  # seconds without a byte, after which a connection counts as lost; the other node pauses for less
REST = 2.0  # seconds for the last chunks of a job that is done
LONGEST_ERROR = 2**20  # bytes
SOON, LATE = 0.05, 5.0  # seconds before another try; the pause doubles while nothing comes


class _Following:
    """One claim of a job at another node, whose output is followed."""

    def __init__(self, output: OutputLog, node: str) -> None:
        self.job_id = output.job_id
        self.node = node
        self.scope = trio.CancelScope()
        self.output = weakref.ref(output)  # it ends with its last reader
        self.fence: int | None = None  # of the claim, once it is known
        self.turn = 0  # of the other node's log
        self.received = 0  # chunks of that turn
        self.whole = False  # all chunks of a done job have come
        self.pause = SOON


class RemoteOutputs:
    """Fills the output logs that have readers here from the nodes that run the jobs: one request for each job."""

    def __init__(self, others: OtherNodes, hub: OutputHub, readers: Readers) -> None:
        self._others = others
        self._hub = hub
        self._readers = readers
        self._running: dict[str, str] = {}  # the nodes of running jobs, but for this one's
        self._following: dict[str, _Following] = {}
        self._nursery: trio.Nursery | None = None
        hub.on_follow = self._look

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what has readers, for ever."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                for job in await self._readers.insist(lambda store: store.running()):
                    if (node := node_of(job.target)) not in ("", self._others.name):
                        self._running.setdefault(job.id, node)
                for output in self._hub.followed():
                    self._look(output)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._others.close()

    async def error(self, event: JobEvent) -> ForemanError | None:
        """Return the error of a job that has failed at another node, None if that node does not answer with it."""
        node = node_of(event.target)
        if node in ("", self._others.name):
            return None
        with trio.move_on_after(REST), suppress(TargetError, msgspec.DecodeError):
            path = f"{BETWEEN_NODES}errors/{event.job_id}"
            async with self._others.request(node, "GET", path) as response:
                if response.status == 200:
                    return msgspec.json.decode(await response.read(LONGEST_ERROR), type=ShownError).error()
        return None

    def on_commit(self, commit: Commit) -> None:
        """Begin with jobs that other nodes have claimed, and end with those that run there no more."""
        for event in commit.all_events if self._running else commit.others:
            node = node_of(event.target)
            if event.state not in RUNNING or node in ("", self._others.name):
                self._stop(event)
                continue
            self._running[event.job_id] = node
            output = self._hub.find(event.job_id)
            if output is not None and event.previous is State.QUEUED:
                output.begin(event.attempt)  # it may end before it is looked at, and what is there is of another claim
            if output is not None and output.is_followed:
                self._look(output)

        if commit.missed is not None and self._nursery is not None:
            self._nursery.start_soon(self._end_deleted)

    async def _end_deleted(self) -> None:
        """End the outputs of jobs that another node has deleted before this one heard how they ended."""
        job_ids = [output.job_id for output in self._hub.without_end()]

        def read(store: Reader) -> list[str]:
            return [job_id for job_id in job_ids if not _has(store, job_id)]

        for job_id in await self._readers.insist(read):
            if (output := self._hub.find(job_id)) is not None and output.ended is None:
                event = JobEvent(
                    seq=0,
                    job_id=job_id,
                    state=State.CANCELLED,
                    previous=None,
                    at=0.0,
                    model="",
                    attempt=output.attempt,
                    error="the job was deleted",
                )
                self._stop(event)
                output.on_commit(event)

    def _look(self, output: OutputLog) -> None:
        """Begin to follow a job that runs elsewhere."""
        node = self._running.get(output.job_id)
        if node is None or output.job_id in self._following or output.ended is not None or self._nursery is None:
            return
        one = self._following[output.job_id] = _Following(output, node)
        output.is_remote = True
        self._nursery.start_soon(self._follow, one)

    def _stop(self, event: JobEvent) -> None:
        self._running.pop(event.job_id, None)
        one = self._following.get(event.job_id)
        if one is None:
            return
        if event.state is State.DONE:
            one.scope.deadline = trio.current_time() + REST
        else:
            del self._following[event.job_id]
            one.scope.cancel()
            if (output := one.output()) is not None:
                output.is_remote = False

    async def _follow(self, one: _Following) -> None:
        try:
            with one.scope:
                while not await self._receive(one):
                    await trio.sleep(one.pause)
                    one.pause = min(LATE, one.pause * 2)
        finally:
            if self._following.get(one.job_id) is one:
                del self._following[one.job_id]
                if (output := one.output()) is not None:
                    output.complete(whole=one.whole)

    async def _receive(self, one: _Following) -> bool:
        """Take the output from the node that runs the job; return True once there is no more to come."""
        try:
            if not await self._find(one):
                return True
            path = f"{BETWEEN_NODES}outputs/{one.job_id}?fence={one.fence}&turn={one.turn}&from={one.received}"
            with trio.move_on_after(SILENCE) as silence:
                async with self._others.request(one.node, "GET", path) as response:
                    frames = FrameReader()
                    while response.status == 200 and (data := await response.receive()):
                        silence.deadline = trio.current_time() + SILENCE
                        if self._take(one, frames, data):
                            return True
        except ForemanError as error:
            log.info("cannot follow a job at another node", job=one.job_id, node=one.node, why=str(error))
        return one.output() is None

    async def _find(self, one: _Following) -> bool:
        """Learn which claim to follow; return False if the job does not run there, or nobody reads any more."""
        job = await self._readers.read(lambda store: store.job(one.job_id))
        output = one.output()
        if job is None or job.state not in RUNNING or node_of(job.target) != one.node or output is None:
            return False
        if one.fence is None:
            one.fence = job.fence
            output.begin(job.attempt)
        return one.fence == job.fence

    def _take(self, one: _Following, frames: FrameReader, data: bytes) -> bool:
        """Take some bytes; return True once there is no more to come."""
        output = one.output()
        if output is None:
            return True
        try:
            for frame in frames.feed(data):
                if isinstance(frame, Piece):
                    output.append(frame.data, frame.label)
                    one.received += 1
                    one.pause = SOON
                elif isinstance(frame, Ended):
                    one.whole = True
                    return True
                else:
                    self._begin(one, output, frame)
            output.held.check(output.held.size + frames.expected + CHUNK_COST)
        except Malformed as error:
            raise TargetGarbled(f"the node {one.node}", str(error)) from error
        except MemoryFull as error:  # its readers get the stored answer in the end
            output.error = error
            output.drop()
            return True
        return False

    def _begin(self, one: _Following, output: OutputLog, frame: Began) -> None:
        if frame.turn != one.turn:
            if one.received:
                output.begin(frame.attempt)
            one.turn, one.received = frame.turn, 0


def _has(store: Reader, job_id: str) -> bool:
    try:
        return store.job(job_id) is not None
    except JobUnreadable:
        return True
