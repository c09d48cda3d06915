"""The handlers of what the worker reports: claims, and how attempts begin and end."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from foreman.domain.errors import ForemanError, Interrupted, JobUnreadable, LoadTimeout, TargetBusy
from foreman.domain.job import Instant, Job, LoadKey, State, model_of
from foreman.domain.retry import Again, after
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.breaker import Breaker, is_to_blame
from foreman.queue.commands import Began, Claim, Finished, Pause, Rescue, Resume, Withdraw, Work
from foreman.queue.handlers.ledger import Ledger

UNREADABLE_AT_ONCE = 500  # jobs that one claim may fail


def claim(ledger: Ledger, message: Claim) -> None:
    """Have the claim wait; `serve` answers it, in the same transaction if a job may run now."""
    if message.spent is not None:
        standing = choose.spend(
            ledger.outlook.turns.standing,
            message.spent,
            ledger.refreshed().heads(),
            running=_running(ledger),
            now=ledger.now,
            rules=ledger.outlook.rules,
        )
        ledger.schedule(ledger.outlook.turns.stand(standing))
    ledger.claims.append(message)


def withdraw(ledger: Ledger, message: Withdraw) -> None:
    """Answer all claims that wait: they get no job."""
    ledger.answer_claims(len(ledger.claims), None)


def serve(ledger: Ledger) -> None:
    """Give jobs to the claims that wait, as far as jobs may run now."""
    while ledger.claims and ledger.outlook.board.ready and not ledger.outlook.paused:
        work = _next(ledger, ledger.claims[0])
        if work is None:
            return
        ledger.answer_claims(1, work)


def _next(ledger: Ledger, message: Claim) -> Work | None:
    outlook, now = ledger.outlook, ledger.now
    heads, running = ledger.refreshed().heads(), _running(ledger)
    for _ in range(UNREADABLE_AT_ONCE):
        choice = choose.choose(heads, outlook.turns.standing, running=running, now=now, rules=outlook.rules)
        if choice is None:
            return None
        head = choice.head
        if any(job.key != head.key for job in ledger.running.values()):
            return None  # the target changes its key only once no job runs
        try:
            job, payload = _read(ledger, head.id)
            break
        except JobUnreadable as error:  # changed by another program; it must not block the jobs behind it
            ledger.set_aside(error)
            heads = ledger.refreshed().heads()
    else:
        ledger.unfinished = True  # the next transaction continues, so that other messages need not wait
        return None
    claimed = replace(
        job,
        state=State.WORKING if message.loaded(job.key) else State.LOADING,
        attempt=job.attempt + 1,
        fence=job.fence + 1,
        started_at=job.started_at or now,
        start_by=None,  # met; pauses between attempts must not expire the job
        error=None,
        error_code=None,
    )
    ledger.schedule(outlook.turns.stand(choose.start(outlook.turns.standing, choice, now)))
    if breaker := outlook.turns.breakers.get(model_of(job.key)):
        ledger.judge(job.key, breaker.claimed(job.id, now))
    ledger.put(claimed, job)
    return Work(claimed, payload, ledger.events[-1].seq, reserved=choice.reserved)


def _running(ledger: Ledger) -> Counter[int]:
    return Counter(int(job.priority) for job in ledger.running.values())


def pause(ledger: Ledger, message: Pause) -> None:
    """Have claims find nothing."""
    ledger.pause(True)


def resume(ledger: Ledger, message: Resume) -> None:
    """Have claims find jobs again."""
    ledger.pause(False)


def began(ledger: Ledger, message: Began) -> None:
    """Record that the target has the request."""
    job = _held(ledger, message.job_id, message.fence)
    if job and message.loaded:
        ledger.tally.used(job, ledger.now, loads=1)
    if job and job.state is State.LOADING:
        ledger.put(replace(job, state=State.WORKING), job)


def finished(ledger: Ledger, message: Finished) -> None:
    """Store the answer of an attempt, or decide by its error what becomes of the job."""
    job = _held(ledger, message.job_id, message.fence)
    if job is None:
        return
    if isinstance(message.outcome, ForemanError):
        again = _failed(ledger, job, message.outcome, free=_blames(ledger, job, message.outcome))
        if isinstance(message.outcome, (TargetBusy, LoadTimeout)):
            _let_rest(ledger, again.key, again.ready_at or ledger.now + ledger.rules.backoff.first)
        return
    if job.state is State.LOADING:  # messages keep their order, so no Began was sent
        job = ledger.put(replace(job, state=State.WORKING), job)
    ledger.judge(job.key, None)
    ledger.tally.used(job, ledger.now, tokens=message.outcome.tokens)
    flaw = message.outcome.flaw
    error, code = (str(flaw), flaw.code) if flaw else (None, None)
    ledger.put(ledger.ended(job, State.DONE, error=error, code=code), job, message.outcome.artifacts)


def rescue(ledger: Ledger, message: Rescue) -> int:
    """Requeue all running jobs, and return their number; the worker that left them has left its claims too."""
    ledger.answer_claims(len(ledger.claims), None)
    running = list(ledger.running.values())
    for job in running:
        _failed(ledger, job, Interrupted())
    return len(running)


def _read(ledger: Ledger, job_id: str) -> tuple[Job, bytes]:
    found = ledger.claimable(job_id)
    if found is None:
        raise JobUnreadable(job_id, "its request is missing")
    if found[0].state is not State.QUEUED:  # the board has it as queued
        raise JobUnreadable(job_id, f"its state became {found[0].state} while it waited")
    return found


def _held(ledger: Ledger, job_id: str, fence: int) -> Job | None:
    """Return the running job, or None when `fence` is no longer current."""
    job = ledger.running.get(job_id)
    return job if job and job.fence == fence else None


def _failed(ledger: Ledger, job: Job, error: ForemanError, *, free: bool = False) -> Job:
    """Requeue or fail a job after a failed attempt; with `free` the attempt does not count."""
    now = ledger.now
    decision = after(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        backoff=ledger.rules.backoff,
        chance=ledger.chance(),
    )
    if free:
        until = ledger.outlook.turns.breakers[model_of(job.key)].until or now
        decision = Again(wait=max(0.0, until - now), spent=False)
    if isinstance(decision, Again):
        # A busy target may take other jobs meanwhile; after a load timeout another job tries the next load.
        behind = isinstance(error, LoadTimeout) or (decision.wait > 0 and not decision.spent)
        again = replace(
            job,
            state=State.QUEUED,
            attempt=job.attempt if decision.spent else job.attempt - 1,
            since=now if behind else job.since,
            ready_at=now + decision.wait if decision.wait > 0 else None,
            error=str(error),
            error_code=error.code,
        )
        return ledger.put(again, job)
    return ledger.put(ledger.ended(job, State.FAILED, error=str(error), code=error.code), job)


def _blames(ledger: Ledger, job: Job, error: ForemanError) -> bool:
    """Record an error that the server is to blame for; return True when the attempt must not count."""
    breaker = ledger.outlook.turns.breakers.get(model_of(job.key), Breaker())
    if not is_to_blame(error):
        return False
    ledger.judge(job.key, breaker.failed(job.id, error.code, ledger.now))
    return breaker.costs_nothing(job.id, ledger.now)


def _let_rest(ledger: Ledger, key: LoadKey, until: Instant) -> None:
    """Claim no job of the key before `until`: its server is busy or cannot load it, and may serve other keys."""
    ledger.schedule(ledger.outlook.turns.let_rest(key, ledger.now, until))
