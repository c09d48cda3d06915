"""The worker: claims jobs for free slots and runs each against the target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import trio
from msgspec.structs import replace

from foreman.actors.attempt import Attempt, Timeouts
from foreman.actors.auto_slots import AutoSlots
from foreman.actors.inventory import Inventory
from foreman.actors.loads import Loads
from foreman.actors.metrics import Metrics
from foreman.actors.output import OutputHub
from foreman.actors.rescue_jobs import rescue_jobs
from foreman.actors.slot_claims import SlotClaims
from foreman.actors.switch import Switch
from foreman.actors.tally import Tally
from foreman.domain.errors import (
    Drained,
    ForemanError,
    MemoryFull,
    Preempted,
    Shortage,
    StoreUnavailable,
    TargetDrained,
    TargetUnavailable,
)
from foreman.domain.job import RUNNING, Instant, LoadKey, State, model_of
from foreman.domain.scheduling.choose import Spent
from foreman.offload import LIGHT
from foreman.queue.commands import Answered, Began, BrokenOff, Claim, Commit, Computed, Finished, Queue, Withdraw, Work
from foreman.queue.outlook import Outlook
from foreman.targets.protocol import Target

log = structlog.get_logger()


class Worker:
    """Runs up to `slots` jobs together, of load keys that the target has room for."""

    def __init__(
        self,
        queue: Queue,
        target: Target,
        hub: OutputHub,
        inventory: Inventory,
        outlook: Outlook,
        *,
        name: str = "",
        others: Callable[[], Collection[str]] = tuple,
        auto: AutoSlots | None = None,
        timeout: Timeouts | None = None,
        grace: float = 0.0,
        clock: Callable[[], Instant],
        metrics: Metrics | None = None,
    ) -> None:
        """Run the jobs of the target `name`; `others` returns the names of the targets that have other workers.

        `grace` is how many seconds running jobs may go on once the target is drained. Without `auto` it has one slot.
        """
        self.grace = grace
        self._drained = Switch()
        self.name = name
        self._others = others
        self._metrics = metrics or Metrics()
        self._queue = queue
        self._target = target
        self.loads = Loads(target, clock)
        self.tally = Tally()
        self._hub = hub
        self._inventory = inventory
        self._outlook = outlook
        self.timeouts = timeout or Timeouts()
        self._clock = clock
        self._running: dict[str, Attempt] = {}
        self._claims = SlotClaims(queue, name, self.is_loaded)
        self._ending = trio.lowlevel.ParkingLot()  # tasks that wait for the slots to end
        self._waits: set[trio.CancelScope] = set()  # ended by draining
        self._slots_alive = 0
        self._nursery: trio.Nursery | None = None  # of the slots
        self._untold: list[Spent] = []  # by slots that have ended
        self._draining = trio.Event()
        self.auto = auto or AutoSlots(name)
        self.slots = self.auto.slots

    def on_commit(self, commit: Commit) -> None:
        """Stop the attempts of jobs that are cancelled, that give way, or that another node has taken over."""
        for job_id, urgent in commit.giving_way.items():
            if attempt := self._running.get(job_id):
                attempt.stop(Preempted(urgent))
        ended = [event for event in commit.others if event.state not in RUNNING]
        for event in (*ended, *(event for event in commit.events if event.state is State.CANCELLED)):
            self._undo(event.job_id, event.seq, cancelled=event.state is State.CANCELLED)
        for job_id, newest in (commit.missed or {}).items():  # deleted, for which they were cancelled
            self._undo(job_id, newest + 1, cancelled=True)

    def _undo(self, job_id: str, seq: int, *, cancelled: bool) -> None:
        """Stop the attempt of a job that is not this worker's any more, by the event `seq`."""
        if attempt := self._running.get(job_id):
            attempt.stop(None, cancelled=cancelled)
        self._claims.undo(job_id, seq)

    @property
    def running(self) -> int:
        """Return the number of jobs that run."""
        return len(self._running)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Rescue the jobs that a predecessor left running, then work until drained."""
        self._running.clear()
        self._claims.clear()
        self._slots_alive = 0
        self._outlook.forget(self.name)
        await rescue_jobs(self._queue, self.name, self._others)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._withdraw_while_away)
                nursery.start_soon(self._stop_while_drained)
                for _ in range(self.slots):
                    self._start_slot(nursery)
                self._nursery = nursery
                task_status.started()
        finally:
            self._nursery = None

    async def drain(self, grace: float) -> None:
        """Stop claiming; give the running jobs `grace` seconds, then requeue the rest."""
        self._draining.set()
        for scope in self._waits:
            scope.cancel()
        await self._queue.tell(Withdraw(target=self.name))
        # A slot whose claim is under way may still get a job; it ends once it has given the job back.
        with trio.move_on_after(grace):
            while self._slots_alive:
                await self._ending.park()
        self.stop_running()
        while self._slots_alive:
            await self._ending.park()

    def close(self) -> None:
        """Claim no more jobs, for good, from now on; `leave` follows."""
        self._draining.set()

    async def leave(self) -> None:
        """Drain with the grace that running jobs get when the target itself is drained."""
        await self.drain(self.grace)

    @property
    def draining(self) -> bool:
        """True once it claims no more jobs, for good."""
        return self._draining.is_set()

    async def resize(self, slots: int) -> None:
        """Have so many slots from now on; a slot too many ends when its job has."""
        self.slots = slots
        if self._nursery is not None and not self.draining:
            while self._slots_alive < slots:
                self._start_slot(self._nursery)
            await self._queue.tell(Withdraw(target=self.name))  # slots without a job look at the number again

    async def _adjust(self) -> None:
        """Have as many slots as the climb says; keep what it has found over restarts."""
        if self.auto.slots != self.slots:
            await self.resize(self.auto.slots)
        if note := self.auto.news():
            await self._queue.tell(note)

    def _start_slot(self, nursery: trio.Nursery) -> None:
        self._slots_alive += 1
        nursery.start_soon(self._slot)

    def stop_running(self, reason: ForemanError | None = None) -> None:
        """Requeue the running jobs at once; their attempts are not spent."""
        for attempt in self._running.values():
            attempt.stop(reason or Drained())

    async def _slot(self) -> None:
        try:
            await self._work()
        finally:
            self._slots_alive -= 1
            self._ending.unpark_all()

    async def _work(self) -> None:
        spent: Spent | None = None
        while claimed := await self._next(spent):
            work, claim = claimed
            began = trio.current_time()
            spent = None
            if (ended := await self._attempt(work, claim)) is None:
                continue
            error, loading = ended
            spent = work.spent(trio.current_time() - began, loading)
            if isinstance(error, TargetUnavailable):
                self._inventory.report_down(error)
            elif isinstance(error, Shortage):  # the next job would meet it too
                with self._until_draining():
                    await trio.sleep(error.retry_after or 0)

    async def _withdraw_while_away(self) -> None:
        """Withdraw the claims that wait whenever the target goes away, until draining."""
        while not self._draining.is_set():
            with self._until_draining():
                await self._inventory.wait_up()
                await self._inventory.wait_down()
                await self._queue.tell(Withdraw(target=self.name))

    @property
    def drained(self) -> bool:
        """True while the target is drained: no job is claimed."""
        return self._drained.is_on

    async def stop_claiming(self) -> None:
        """Claim no more jobs; those that run go back to the queue after the grace, their attempts not spent."""
        self.start_drained()
        await self._queue.tell(Withdraw(target=self.name))

    def start_drained(self) -> None:
        """Claim no jobs from the start on."""
        self._drained.turn_on()

    def claim_again(self) -> None:
        """Claim jobs again."""
        self._drained.turn_off()

    async def _stop_while_drained(self) -> None:
        while not self._draining.is_set():
            with self._until_draining():
                await self._drained.wait_on()
                with trio.move_on_after(self.grace) as grace:
                    await self._drained.wait_off()
                if grace.cancelled_caught and self.drained:
                    self.stop_running(TargetDrained(self.name))
                    await self._drained.wait_off()

    async def _next(self, spent: Spent | None) -> tuple[Work, Claim] | None:
        """Wait for work and return it, perhaps before it is on disk; None when draining and for a slot too many.

        `spent` is the slot time of the attempt before.
        """
        while not self._draining.is_set():
            if self._slots_alive > self.slots:
                self._untold += [spent] if spent else []
                return None
            if spent is None and self._untold:
                spent = self._untold.pop()
            if not self._inventory.up or self.drained:
                with self._until_draining():
                    await self._inventory.wait_up()
                    await self._drained.wait_off()
                continue
            try:
                work, claim = await self._claims.claim(spent)
                spent = None
                if work and self._draining.is_set():
                    work = await claim.reply.wait()
            except StoreUnavailable as error:
                log.warning("cannot take a job", why=str(error))
                with self._until_draining():
                    await trio.sleep(error.retry_after)
                continue
            if work and self._draining.is_set():
                await self._queue.tell(Finished(job_id=work.job.id, fence=work.job.fence, outcome=Drained()))
            elif work:
                return work, claim
        return None

    def is_loaded(self, key: LoadKey) -> bool:
        """Return True when the target has the key loaded. Called in the queue's thread, which no bug of it may end."""
        try:
            return self._target.is_loaded(key)
        except Exception:
            log.exception("cannot tell what is loaded", target=self._target.name)
            return False

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

    async def _attempt(self, work: Work, claim: Claim) -> tuple[ForemanError | None, float] | None:
        """Run the job and report the outcome; return its error and the seconds of loading, None if it is undone."""
        job = work.job
        model, payload = self._inventory.named(job.model, job.key, work.payload)
        if model != job.model:
            work = replace(work, job=replace(job, model=model), payload=payload)
        output = self._hub.output(job.id)
        output.begin(job.attempt)
        attempt = Attempt(work, self._target, self.loads, output, self.timeouts, self._clock, claim.reply)
        self._running[job.id] = attempt
        self._outlook.claimed(job, attempt.claimed_at, lambda: output.shown, lambda: attempt.first_chunk)
        self.auto.began(self._running.values())
        try:
            computed = partial(self._queue.tell, Computed(job_id=job.id, fence=job.fence)) if work.opens else None
            outcome = await attempt.run(partial(self._began, attempt), computed)
        finally:
            if self._running.get(job.id) is attempt:
                del self._running[job.id]
                self._outlook.ended(job.id)
        if attempt.undone:  # there is no such job, or no such claim of it
            return None
        error = output.error = outcome if isinstance(outcome, ForemanError) else None
        if error is not None:
            self._hub.failed(job.id, error)
        if isinstance(error, MemoryFull):
            output.drop()  # a requeued job must not hold memory that the running ones need
        if isinstance(outcome, Answered):
            result = outcome.artifacts[0].data
            output.result = result if len(result) <= LIGHT else None  # a longer one is read from the store in parts
        figures = attempt.ended(outcome)
        self._metrics.attempted(figures)
        self.tally.attempted(figures)
        self.auto.ended(attempt, figures, error, self._running.values())
        if isinstance(outcome, Answered):
            before, tokens = attempt.first_chunk or 0.0, figures.answer_tokens
            again = self._outlook.was_cached(job, outcome.tokens)
            self._outlook.learn(job, seconds=figures.working, before=before, tokens=tokens, again=again)
        if unreported := await attempt.unreported(outcome):
            await self._queue.tell(BrokenOff(job=job, tokens=unreported))
        if outcome is not None:
            end = Finished(job_id=job.id, fence=job.fence, outcome=outcome, claim=claim, numbered=attempt.numbered)
            await self._queue.tell(end)
        output.rest()
        if self.auto.on:
            await self._adjust()
        return error, figures.loading

    async def _began(self, attempt: Attempt, loaded: bool) -> None:
        job = attempt.job
        if attempt.began_at is not None:
            self._outlook.began(job.id, attempt.began_at)
        if job.state is not State.LOADING and not loaded:
            return
        await attempt.stored()
        if loaded:
            self._metrics.loaded(model_of(job.key))
        await self._queue.tell(Began(job_id=job.id, fence=job.fence, loaded=loaded, seconds=attempt.loading))
