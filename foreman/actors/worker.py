"""The worker: claims jobs for free slots and runs each against the target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import trio

from foreman.actors.inventory import Inventory
from foreman.actors.metrics import Attempted, Metrics
from foreman.actors.output import CHUNK_COST, OutputHub, OutputLog
from foreman.domain.errors import (
    AnswerCut,
    AnswerTooLarge,
    AttemptTimeout,
    Drained,
    ForemanError,
    Internal,
    MemoryFull,
    Shortage,
    StoreUnavailable,
    TargetError,
    TargetSilent,
    TargetUnavailable,
)
from foreman.domain.job import Artifact, Instant, Job, LoadKey, State, model_of
from foreman.domain.scheduling.choose import Spent
from foreman.domain.usage import NO_TOKENS, Tokens
from foreman.offload import LIGHT, offload
from foreman.queue.commands import Answered, Began, Claim, Commit, Finished, Queue, Rescue, Work
from foreman.queue.positions import Outlook
from foreman.shortage import shortage_in
from foreman.targets.answers.images import images
from foreman.targets.answers.joiner import Answer
from foreman.targets.answers.tokens import tokens
from foreman.targets.protocol import Call, Target

log = structlog.get_logger()

BREATH = 20  # chunks that arrived together, between two checkpoints


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of an attempt: times in seconds, `max_answer` in bytes."""

    attempt: float = 3600
    first_chunk: float = 600
    stall: float = 120
    max_answer: int = 64 * 2**20


class _Attempt:
    """An attempt under way. One cancel scope ends it early: on a cancel, a drain, or a deadline."""

    def __init__(self, job: Job, claimed_at: Instant, seconds: float) -> None:
        self.job = job
        self.claimed_at = claimed_at
        self.began_at: Instant | None = None  # when the request was sent
        self.loads = False  # its model had to be loaded first
        self._seconds = seconds
        self._ends_at = trio.current_time() + seconds
        self._timeout = seconds
        self._heard = False
        self.answered = False  # a part of the answer has arrived
        self._stopped = False
        self._reason: ForemanError | None = None
        self.scope = trio.CancelScope(deadline=self._ends_at)

    def stop(self, reason: ForemanError | None) -> None:
        """End the attempt now; a `reason` of None means that its job was cancelled."""
        if not self._stopped:
            self._stopped, self._reason = True, reason
            self.scope.cancel()

    def wait_for_chunk(self, timeout: float) -> None:
        """End the attempt once the target has sent nothing for `timeout` seconds, or at its own deadline."""
        self._timeout = timeout
        self._wait()

    def heard(self) -> None:
        """Restart the timeout: the target has sent something, even if only a keep-alive."""
        self._heard = True
        self._wait()

    def _wait(self) -> None:
        self.scope.deadline = min(self._ends_at, trio.current_time() + self._timeout)

    def why(self, target: str) -> ForemanError | None:
        """Return the error that ended the attempt early; None when its job was cancelled."""
        if self._stopped:
            return self._reason
        if self.scope.deadline < self._ends_at:
            return TargetSilent(target, self._timeout)
        asked = (
            self.began_at is not None or self.job.timeout is None
        )  # a job's own timeout may be too short for loading
        return AttemptTimeout(self._seconds, silent=asked and not self._heard)


class Worker:
    """Runs up to `slots` jobs of one load key together."""

    def __init__(
        self,
        queue: Queue,
        target: Target,
        hub: OutputHub,
        inventory: Inventory,
        outlook: Outlook,
        *,
        slots: int = 1,
        timeout: Timeouts | None = None,
        clock: Callable[[], Instant],
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._queue = queue
        self._target = target
        self._hub = hub
        self._inventory = inventory
        self._outlook = outlook
        self._timeout = timeout or Timeouts()
        self._clock = clock
        self._running: dict[str, _Attempt] = {}
        self._claims = 0  # under way
        self._cancelled: dict[str, int] = {}  # seq by job cancelled meanwhile: a claim under way may return the job
        self._idle = trio.lowlevel.ParkingLot()  # slots without a job
        self._ending = trio.lowlevel.ParkingLot()  # tasks that wait for the slots to end
        self._waits: set[trio.CancelScope] = set()  # ended by draining
        self._notifications = 0
        self._slots_alive = 0
        self._draining = trio.Event()
        self._latest: LoadKey | None = None  # the key of the job claimed last
        self.slots = slots

    def on_commit(self, commit: Commit) -> None:
        """Stop the attempts of cancelled jobs; look for work when there may be some."""
        work_available = commit.work_available
        for event in commit.events:
            if event.state is State.CANCELLED:
                if attempt := self._running.get(event.job_id):
                    attempt.stop(None)
                if self._claims:
                    self._cancelled[event.job_id] = event.seq
            # A job's end needs no notification: the slot that ran it looks for work next, and wakes another.
            work_available = work_available or event.state is State.QUEUED
        if work_available:
            self.notify()

    def target_loaded(self) -> str | None:
        """Return the load key that the target has loaded, if any."""
        return self._target.loaded()

    @property
    def busy(self) -> bool:
        """True when every slot has a job."""
        return len(self._running) >= self.slots

    def notify(self) -> None:
        """Wake one idle slot; if it finds work and there is more, it wakes the next."""
        self._notifications += 1
        self._idle.unpark()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Rescue the jobs that a predecessor left running, then work until drained."""
        self._running.clear()
        self._cancelled.clear()
        self._claims = self._slots_alive = 0
        self._outlook.at_work = {}
        await self._rescue()
        async with trio.open_nursery() as nursery:
            for _ in range(self.slots):
                self._slots_alive += 1
                nursery.start_soon(self._slot)
            task_status.started()

    async def _rescue(self) -> None:
        while True:
            try:
                rescued = await self._queue.ask(Rescue())
                break
            except StoreUnavailable as error:
                log.warning("cannot rescue the jobs that were running", why=str(error))
                await trio.sleep(error.retry_after)
        if rescued:
            log.warning("rescued jobs that were running", jobs=rescued)

    async def drain(self, grace: float) -> None:
        """Stop claiming; give the running jobs `grace` seconds, then requeue the rest."""
        self._draining.set()
        for scope in self._waits:
            scope.cancel()
        # A slot whose claim is under way may still get a job; it ends once it has given the job back.
        with trio.move_on_after(grace):
            while self._slots_alive:
                await self._ending.park()
        self.stop_running()
        while self._slots_alive:
            await self._ending.park()

    def stop_running(self) -> None:
        """Requeue the running jobs at once; their attempts are not spent."""
        for attempt in self._running.values():
            attempt.stop(Drained())

    async def _slot(self) -> None:
        try:
            await self._work()
        finally:
            self._slots_alive -= 1
            self._ending.unpark_all()

    async def _work(self) -> None:
        spent: Spent | None = None
        while work := await self._next(spent):
            began = trio.current_time()
            error = await self._attempt(work)
            spent = Spent(work.job.priority, trio.current_time() - began, work.reserved)
            if isinstance(error, TargetUnavailable):
                self._inventory.report_down(error)
            elif isinstance(error, Shortage):  # the next job would meet it too
                with self._until_draining():
                    await trio.sleep(error.retry_after or 0)

    async def _next(self, spent: Spent | None) -> Work | None:
        """Wait for work and return it; None when draining. `spent` is the slot time of the attempt before."""
        while not self._draining.is_set():
            if not self._inventory.up:
                with self._until_draining():
                    await self._inventory.wait_up()
                continue
            notifications = self._notifications
            try:
                work = await self._claim(spent)
                spent = None
            except StoreUnavailable as error:
                log.warning("cannot take a job", why=str(error))
                with self._until_draining():
                    await trio.sleep(error.retry_after)
                continue
            if work and self._cancelled.get(work.job.id, 0) > work.seq:
                continue
            if work and self._draining.is_set():
                await self._queue.tell(Finished(job_id=work.job.id, fence=work.job.fence, outcome=Drained()))
            elif work:
                if work.more:
                    self._idle.unpark()
                return work
            elif notifications == self._notifications:
                with self._until_draining():
                    await self._idle.park()
        return None

    async def _claim(self, spent: Spent | None) -> Work | None:
        loaded = self._latest if self._latest is not None and self._target.is_loaded(self._latest) else None
        if not self._claims:
            self._cancelled.clear()
        self._claims += 1
        try:
            work = await self._queue.ask(Claim(loaded=loaded, spent=spent))
        finally:
            self._claims -= 1
        if work:
            self._latest = work.job.key
        return work

    @contextmanager
    def _until_draining(self) -> Iterator[None]:
        """Hold a wait that draining ends. Never claim within it: a cancelled claim would orphan its job."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            if self._draining.is_set():
                scope.cancel()
            try:
                yield
            finally:
                self._waits.discard(scope)

    async def _attempt(self, work: Work) -> ForemanError | None:
        """Run the job and report the outcome to the queue; return the error, if any."""
        job = work.job
        output = self._hub.output(job.id)
        output.begin(job.attempt)
        seconds = job.timeout or self._timeout.attempt
        attempt = self._running[job.id] = _Attempt(job, self._clock(), seconds)
        self._outlook.claimed(job, attempt.claimed_at)
        outcome: Answered | ForemanError | None = None
        try:
            with attempt.scope:
                outcome = await self._run(work, output, attempt)
            if attempt.scope.cancelled_caught:
                outcome = attempt.why(self._target.name)
        finally:
            if self._running.get(job.id) is attempt:
                del self._running[job.id]
                self._outlook.ended(job.id)
        error = outcome if isinstance(outcome, ForemanError) else None
        if isinstance(error, TargetError):
            error.began = attempt.answered
        output.error = error
        if isinstance(error, MemoryFull):
            output.drop()  # a requeued job must not hold memory that the running ones need
        counted = NO_TOKENS
        if isinstance(outcome, Answered):
            counted, result = outcome.tokens, outcome.artifacts[0].data
            output.result = result if len(result) <= LIGHT else None  # a longer one is read from the store in parts
        self._account(attempt, "cancelled" if outcome is None else error.code if error else "done", counted)
        if outcome is not None:
            await self._queue.tell(Finished(job_id=job.id, fence=job.fence, outcome=outcome))
        output.rest()
        return error

    def _account(self, attempt: _Attempt, outcome: str, counted: Tokens) -> None:
        job, now = attempt.job, self._clock()
        began_at = attempt.began_at or now
        if outcome == "done":
            load = max(0.0, began_at - attempt.claimed_at) if attempt.loads else None
            self._outlook.learn(job, seconds=max(0.0, now - began_at), load=load, tokens=counted.answer)
        ended = Attempted(
            model=model_of(job.key),
            outcome=outcome,
            waited=attempt.claimed_at - job.since,
            loading=began_at - attempt.claimed_at,
            working=now - began_at,
            prompt_tokens=counted.prompt,
            answer_tokens=counted.answer,
        )
        self._metrics.attempted(ended)
        log.info(
            "attempt ended",
            job=job.id,
            model=job.model,
            attempt=job.attempt,
            outcome=outcome,
            waited=round(ended.waited, 3),
            loading=round(ended.loading, 3),
            working=round(ended.working, 3),
        )

    async def _run(self, work: Work, output: OutputLog, attempt: _Attempt) -> Answered | ForemanError:
        job = work.job
        heard = attempt.heard
        call = Call(
            model=job.model,
            key=job.key,
            endpoint=job.endpoint,
            payload=work.payload,
            heard=heard,
            took=output.held.grow,
        )
        try:
            output.held.grow(len(work.payload))
            attempt.loads = not self._target.is_loaded(job.key)
            await self._target.load(call)
            loaded = attempt.loads and self._target.is_loaded(job.key)  # false after a request to unload
            if loaded:
                self._metrics.loaded(model_of(job.key))
            attempt.began_at = self._clock()
            self._outlook.began(job.id, attempt.began_at)
            if job.state is State.LOADING or loaded:
                await self._queue.tell(Began(job_id=job.id, fence=job.fence, loaded=loaded))
            answer, flaw = await self._collect(call, output, attempt)
            return await offload(answer.size, _answered, answer, flaw)
        except ForemanError as error:
            return error.with_traceback(None)  # a traceback would keep the output log and its chunks alive
        except Exception as error:  # one attempt's bug must not end the others
            if short := shortage_in(error):
                return short
            log.exception("attempt failed by a bug", job=job.id)
            return Internal()

    async def _collect(self, call: Call, output: OutputLog, attempt: _Attempt) -> tuple[Answer, AnswerCut | None]:
        answer, size, count, breathed = Answer(call.endpoint, self._target.name), 0, 0, 0
        flaw: AnswerCut | None = None
        attempt.wait_for_chunk(self._timeout.first_chunk)
        async with self._target.answer(call) as chunks:
            async for chunk in chunks:
                if chunk.cut:
                    flaw = AnswerCut()
                    continue
                attempt.answered = True
                count += 1
                if count % BREATH == 0 or size - breathed > LIGHT:
                    await trio.lowlevel.checkpoint()
                    breathed = size
                size += len(chunk.data) + CHUNK_COST
                if size > self._timeout.max_answer:
                    raise AnswerTooLarge(self._timeout.max_answer)
                await offload(len(chunk.data), answer.add, chunk)
                output.append(chunk.data, last=chunk.last)
                attempt.wait_for_chunk(self._timeout.stall)
        return answer, flaw


def _answered(answer: Answer, flaw: AnswerCut | None) -> Answered:
    """Return the joined answer with its artifacts and tokens. Raise TargetGarbled when it cannot be joined."""
    result = answer.result()
    completion = Artifact(name="completion", content_type="application/json", data=result)
    return Answered([completion, *images(result)], flaw, tokens(result))
