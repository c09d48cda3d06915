"""One attempt to run a job against a target, and the limits that end it early."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from foreman.actors.loads import Loads
from foreman.actors.metrics import Attempted
from foreman.actors.output import CHUNK_COST, OutputLog
from foreman.domain.answers.chunk import NO_LABEL
from foreman.domain.answers.images import images
from foreman.domain.answers.joiner import Answer
from foreman.domain.answers.tokens import estimated_tokens, tokens
from foreman.domain.answers.usage import job_usage
from foreman.domain.endpoints import at
from foreman.domain.errors import (
    AnswerCut,
    AnswerTooLarge,
    AttemptTimeout,
    ForemanError,
    Internal,
    TargetError,
    TargetSilent,
)
from foreman.domain.job import Artifact, Instant, model_of
from foreman.domain.responses.own_answer import EVENTS, OwnAnswer, own_answer
from foreman.domain.usage import NO_TOKENS, Tokens
from foreman.offload import LIGHT, offload
from foreman.queue.commands import Answered, Work
from foreman.queue.replies import ClaimReply
from foreman.shortage import shortage_in
from foreman.targets.protocol import Call, Target

log = structlog.get_logger()

BREATH = 20  # chunks that arrived together, between two checkpoints
GRAIN = 0.01  # the part of a timeout by which a silence may be ended early


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of an attempt: times in seconds, `max_answer` in bytes."""

    attempt: float = 3600
    first_chunk: float = 600
    stall: float = 120
    max_answer: int = 64 * 2**20


class Attempt:
    """An attempt under way. One cancel scope ends it early: on a cancel, a drain, or a deadline."""

    def __init__(
        self,
        work: Work,
        target: Target,
        loads: Loads,
        output: OutputLog,
        timeouts: Timeouts,
        clock: Callable[[], Instant],
        reply: ClaimReply[Work],
    ) -> None:
        """Run the work of a claim, which `reply` tells whether it is on disk."""
        self.job = work.job
        self.undone = False  # the commit of the claim has failed
        self._reply = reply
        self.claimed_at = clock()
        self.began_at: Instant | None = None  # when the request was sent
        self.had_to_load = False  # its model had to be loaded first
        self.first_chunk: float | None = None  # seconds from the request to the first chunk of the answer
        self.chunks = 0  # of the answer, without the one that closes it
        self._took = 0.0  # seconds from the request to the end of the answer
        self._payload = work.payload
        self._target = target
        self._loads = loads
        self._output = output
        self._timeouts = timeouts
        self._clock = clock
        self._seconds = work.job.timeout or timeouts.attempt
        self.started = trio.current_time()
        self._sent: float | None = None  # `began_at`, by the clock of `started`, which nobody sets
        self._ends_at = self.started + self._seconds
        self._timeout = self._seconds
        self._heard = False
        self._answered = False  # a part of the answer has arrived
        self._own: OwnAnswer | None = None  # what makes the answer Foreman's
        self._stopped = self._cancelled = False
        self._reason: ForemanError | None = None
        self._scope = trio.CancelScope(deadline=self._ends_at)

    @property
    def numbered(self) -> int:
        """Return how many events of the answer have numbers that no other attempt may use."""
        return len(self._own.kept) if self._own else 0

    @property
    def loading(self) -> float:
        """Return the seconds from the claim to the request."""
        return (trio.current_time() if self._sent is None else self._sent) - self.started

    def stop(self, reason: ForemanError | None, *, cancelled: bool = False) -> None:
        """End the attempt now; a `reason` of None means that its job was `cancelled`, or is another attempt's."""
        self._cancelled |= cancelled
        if not self._stopped:
            self._stopped, self._reason = True, reason
            self._scope.cancel()

    async def stored(self) -> None:
        """Return once the claim is on disk, or at once if that waits for the attempt.

        Nothing that the attempt learns may leave it before, except to the queue, which stores both together.
        """
        await self._reply.stays()
        await trio.lowlevel.checkpoint_if_cancelled()  # its commit may have failed

    async def run(
        self, began: Callable[[bool], Awaitable[None]], computed: Callable[[], Awaitable[None]] | None
    ) -> Answered | ForemanError | None:
        """Load the model, send the request, and return the outcome; None when the job was cancelled or is undone.

        `began` is awaited before the request is sent; its argument is True when the model was loaded for it. `computed`
        is awaited when the answer begins.
        """
        outcome: Answered | ForemanError | None = None
        self._reply.undo = partial(self.stop, None)
        try:
            with self._scope:
                outcome = await self._run(began, computed)
            self.undone = not await self._reply.stays()
        finally:
            self._reply.undo = None
        if self._scope.cancelled_caught:
            outcome = self._why()
        if isinstance(outcome, TargetError):
            outcome.began = self._answered
        return outcome

    def ended(self, outcome: Answered | ForemanError | None) -> Attempted:
        """Return the figures of the attempt, which has ended with `outcome`, and log them."""
        job, loading = self.job, self.loading
        counted = outcome.tokens if isinstance(outcome, Answered) else NO_TOKENS
        figures = Attempted(
            model=model_of(job.key),
            outcome="cancelled" if outcome is None else outcome.code if isinstance(outcome, ForemanError) else "done",
            waited=self.claimed_at - job.since,
            loading=loading,
            working=trio.current_time() - self.started - loading,
            prompt_tokens=counted.prompt,
            answer_tokens=counted.answer,
        )
        log.info(
            "attempt ended",
            job=job.id,
            model=job.model,
            attempt=job.attempt,
            outcome=figures.outcome,
            waited=round(figures.waited, 3),
            loading=round(figures.loading, 3),
            working=round(figures.working, 3),
        )
        return figures

    async def unreported(self, outcome: Answered | ForemanError | None) -> Tokens | None:
        """Return about how many tokens an attempt used that was cancelled, as by hanging up, or took too long.

        Of other outcomes return None: answers tell it, and other errors are not the caller's doing.
        """
        if self.chunks and (isinstance(outcome, AttemptTimeout) or (outcome is None and self._cancelled)):
            return await offload(len(self._payload), estimated_tokens, self._payload, self.chunks)
        return None

    def _why(self) -> ForemanError | None:
        """Return the error that ended the attempt early; None when its job was cancelled."""
        if self._stopped:
            return self._reason
        if self._scope.deadline < self._ends_at:
            return TargetSilent(self._target.name, self._timeout)
        # A timeout of the job's own may be too short for loading.
        asked = self.began_at is not None or self.job.timeout is None
        return AttemptTimeout(self._seconds, silent=asked and not self._heard)

    def _wait_for_chunk(self, timeout: float) -> None:
        """End the attempt once the target has sent nothing for `timeout` seconds, or at its own deadline."""
        self._timeout = timeout
        self._wait()

    def _hear(self) -> None:
        """Restart the timeout: the target has sent something, even if only a keep-alive."""
        self._heard = True
        self._wait()

    def _wait(self) -> None:
        deadline = min(self._ends_at, trio.current_time() + self._timeout)
        moved = abs(deadline - self._scope.deadline)
        # Setting it costs as much as taking a chunk. The attempt's own end is exact: `_why` tells the two by it.
        if moved > self._timeout * GRAIN or (moved and deadline == self._ends_at):
            self._scope.deadline = deadline

    async def _run(
        self, began: Callable[[bool], Awaitable[None]], computed: Callable[[], Awaitable[None]] | None
    ) -> Answered | ForemanError:
        job, target, held = self.job, self._target, self._output.held
        call = Call(
            model=job.model,
            key=job.key,
            endpoint=job.endpoint,
            payload=self._payload,
            heard=self._hear,
            took=held.grow,
        )
        try:
            held.grow(len(self._payload))
            self.had_to_load = await self._loads.load(call)
            loaded = self.had_to_load and target.is_loaded(job.key)  # false after a request to unload
            self.began_at, self._sent = self._clock(), trio.current_time()
            await began(loaded)
            answer, flaw = await self._collect(call, computed)
            if self._own is not None and self._own.keeps:
                held.grow(sum(map(len, self._own.kept)))
            times = self.first_chunk, self._took
            return await offload(answer.size, _answered, answer, flaw, self._own, times)
        except ForemanError as error:
            return error.with_traceback(None)  # a traceback would keep the output log and its chunks alive
        except Exception as error:  # one attempt's bug must not end the others
            if short := shortage_in(error):
                return short
            log.exception("attempt failed by a bug", job=job.id)
            return Internal()

    async def _collect(
        self, call: Call, computed: Callable[[], Awaitable[None]] | None
    ) -> tuple[Answer, AnswerCut | None]:
        endpoint = at(call.endpoint)
        answer, size, count, breathed = endpoint.answer(self._target.name), 0, 0, 0
        flaw: AnswerCut | None = None
        own = self._own = await offload(len(self._payload), own_answer, self.job, self._payload)
        self._wait_for_chunk(self._timeouts.first_chunk)
        asked_at = trio.current_time()
        async with self._target.answer(call) as chunks:
            async for chunk in chunks:
                if chunk.cut:
                    flaw = AnswerCut()
                    continue
                if not self._answered:
                    self.first_chunk = trio.current_time() - asked_at
                    await self.stored()
                    self._answered = True
                    if computed is not None:
                        await computed()
                count += 1
                if count % BREATH == 0 or size - breathed > LIGHT:
                    await trio.lowlevel.checkpoint()
                    breathed = size
                if own is not None:
                    chunk = await offload(len(chunk.data), own.of, chunk)
                size += len(chunk.data) + CHUNK_COST
                if size > self._timeouts.max_answer:
                    raise AnswerTooLarge(self._timeouts.max_answer)
                label = NO_LABEL if chunk.value is None else endpoint.label(chunk.value)  # joining may change it
                if len(chunk.data) <= LIGHT:
                    answer.add(chunk)
                else:
                    await offload(len(chunk.data), answer.add, chunk)
                self._output.append(chunk.data, label, last=chunk.last)
                if not chunk.last:
                    self.chunks += 1
                    self._wait_for_chunk(self._timeouts.stall)
        self._took = trio.current_time() - asked_at
        return answer, flaw


def _answered(
    answer: Answer, flaw: AnswerCut | None, own: OwnAnswer | None, times: tuple[float | None, float]
) -> Answered:
    """Return the joined answer with its artifacts and usage. Raise TargetGarbled when it cannot be joined.

    `times` are those of its first chunk and of its end.
    """
    result = answer.result()
    completion = Artifact(name="completion", content_type="application/json", data=result)
    artifacts = [completion, *images(result)]
    if own is not None and own.keeps:
        artifacts.append(Artifact(name=EVENTS, content_type="application/x-ndjson", data=own.events()))
    counted = tokens(result)
    return Answered(artifacts, flaw, counted, job_usage(counted, *times))
