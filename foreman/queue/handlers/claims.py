"""The handlers of what the worker reports: claims, and how attempts begin and end."""

from __future__ import annotations

from msgspec.structs import replace

from foreman.domain.batch_answers import error_artifact
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import (
    ForemanError,
    Interrupted,
    JobUnreadable,
    LoadTimeout,
    Preempted,
    TargetBusy,
    TargetRefused,
)
from foreman.domain.job import CallerKey, Job, LoadKey, State, model_of
from foreman.domain.responses.numbers import LOST
from foreman.domain.retry import Again, after
from foreman.domain.scheduling import choose, credits
from foreman.domain.scheduling.breaker import Breaker, is_to_blame
from foreman.domain.scheduling.forecast import Kind
from foreman.queue.candidates import Candidates
from foreman.queue.commands import (
    LOADS,
    Began,
    Claim,
    Computed,
    Finished,
    Pause,
    Rescue,
    Resume,
    Withdraw,
    Work,
)
from foreman.queue.handlers import used_tokens
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.handlers.picking import Picking
from foreman.queue.outlook import Outlook
from foreman.queue.sites import Site

UNREADABLE_AT_ONCE = 500  # jobs that one claim may fail


def claim(ledger: Ledger, message: Claim) -> None:
    """Have the claim wait; `serve` answers it, in the same transaction if a job may run now."""
    if message.spent is not None and (site := ledger.outlook.own_sites.get(message.target)):
        _spend(ledger, site, message.spent)
    ledger.claims.waiting.append(message)


def _spend(ledger: Ledger, site: Site, spent: choose.Spent) -> None:
    """Have the classes and the callers of a target pay for the slot time of an attempt."""
    outlook, state = ledger.outlook, ledger.outlook.state_of(site.name)
    standing, rules = state.standing, outlook.rules_of(site.slots)
    classes = {*outlook.board.classes(), *ledger.occupancy.classes(site.name)}
    alone = credits.spend_alone(standing, spent, classes, rules)
    if alone is not None:
        standing = alone
    else:
        candidates = Candidates(ledger.refreshed(), site, ledger.occupancy, ledger.now)
        heads = candidates.heads()
        standing = choose.spend(standing, spent, heads, running=candidates.running, now=ledger.now, rules=rules)
    if spent.beyond:
        standing = _charged(outlook, standing, spent.key, spent.priority, spent.caller, spent.beyond, rules)
    if standing is not state.standing:
        ledger.schedule(site.name, state.with_standing(standing))


def withdraw(ledger: Ledger, message: Withdraw) -> None:
    """Answer the claims of a target that wait: they get no job."""
    ledger.claims.refuse(message.target)


def serve(ledger: Ledger) -> None:
    """Give jobs to the claims that wait, as far as jobs may run now."""
    idle: set[str] = set()  # targets for which there is no job
    deferred: set[str] = set()  # those of them that left one for another target
    while ledger.outlook.board.ready and not ledger.outlook.paused:
        message = next((claim for claim in ledger.claims.waiting if claim.target not in idle), None)
        if message is None:
            return
        site = ledger.outlook.own_sites.get(message.target)
        if site is None or not site.open:
            idle.add(message.target)
            continue
        candidates = Candidates(ledger.refreshed(), site, ledger.occupancy, ledger.now)
        work = _next(ledger, message, site, candidates)
        if work or candidates.news:
            idle -= deferred  # what they left may be theirs now
            deferred.clear()
        if work:
            ledger.claims.answer(message, work)
            continue
        idle.add(message.target)
        deferred |= {message.target} if candidates.deferred else set()


def _next(ledger: Ledger, message: Claim, site: Site, candidates: Candidates) -> Work | None:
    """Return the work of a claim, or None."""
    outlook, now = ledger.outlook, ledger.now
    state, rules, room = outlook.state_of(site.name), outlook.rules_of(site.slots), site.room()
    heads, picking = candidates.heads(), Picking(ledger, site, candidates)
    for _ in range(UNREADABLE_AT_ONCE):
        choice = choose.choose(
            heads,
            state.standing,
            running=candidates.running,
            now=now,
            rules=rules,
            keys_at_work=candidates.keys_at_work,
            room=room,
        )
        if choice is None:
            return None
        try:
            found = picking.pick(choice.head)
        except JobUnreadable as error:  # changed by another program; it must not block the jobs behind it
            ledger.set_aside(error)
            ledger.refreshed()
            heads = candidates.heads()
            continue
        if found is None:
            heads = [head for head in heads if head is not choice.head]
        elif found.job.start_by is not None and found.job.start_by <= now:  # added too late, in this transaction
            ledger.expire(found.job)
            ledger.refreshed()
            heads = candidates.heads()
        else:
            break
    else:
        ledger.unfinished = True  # the next transaction continues, so that other messages need not wait
        return None
    job = found.job
    claimed = replace(
        job,
        state=State.WORKING if message.loaded(job.key) else State.LOADING,
        attempt=job.attempt + 1,
        fence=job.fence + 1,
        started_at=job.started_at or now,
        start_by=None,  # met; pauses between attempts must not expire the job
        error=None,
        error_code=None,
        target=site.name or None,
    )
    load = outlook.load_times.of(site.name, job.key) or 0.0
    standing = choose.start(state.standing, choice, now, limit=rules.limit, room=room, load=load)
    standing = standing.prefixed(job.key, found.turn)
    since = now if claimed.state is State.WORKING else None
    prompts = state.prompts.started(job.id, job.key, job.prefix, since)
    opens = site.slots > 1 and rules.prefix_turns and prompts.is_new(job.id)  # else nobody waits for its prompt
    if not opens:
        prompts = prompts.computed(job.id, now)
    ledger.put(claimed, job)
    charge = outlook.expected(Kind.of(job), site.name)  # at once; the difference is charged at the end
    standing = _charged(outlook, standing, job.key, int(job.priority), job.caller_key, charge, rules)
    if job.id == choice.head.id:
        standing = standing.aged(job.key, int(job.priority), now)
    ledger.schedule(site.name, state.with_standing(standing).with_prompts(prompts))
    if breaker := state.breakers.get(model_of(job.key)):
        ledger.judge(site.name, job.key, breaker.claimed(job.id, now))
    return Work(claimed, found.payload, ledger.events[-1].seq, reserved=choice.reserved, charge=charge, opens=opens)


def _charged(
    outlook: Outlook,
    standing: choose.Standing,
    key: LoadKey,
    priority: int,
    caller: CallerKey,
    seconds: float,
    rules: choose.OrderRules,
) -> choose.Standing:
    """Return the standing after the caller of a lane was served for so many seconds."""
    if (key, priority) not in standing.shares and outlook.board.is_alone(key, priority, caller):
        return standing
    return standing.charged(key, priority, caller, seconds, outlook.board.callers(key, priority), rules)


def computed(ledger: Ledger, message: Computed) -> None:
    """Record that the prompt of a job is computed, so that jobs which begin like it may start."""
    if job := _under_fence(ledger, message.job_id, message.fence):
        state = ledger.outlook.state_of(job.target or "")
        ledger.schedule(job.target or "", state.with_prompts(state.prompts.computed(job.id, ledger.now)))


def pause(ledger: Ledger, message: Pause) -> None:
    """Have claims find nothing."""
    ledger.pause(True)


def resume(ledger: Ledger, message: Resume) -> None:
    """Have claims find jobs again."""
    ledger.pause(False)


def began(ledger: Ledger, message: Began) -> None:
    """Record that the target has the request."""
    job = _under_fence(ledger, message.job_id, message.fence)
    if job and message.loaded:
        state = ledger.outlook.state_of(job.target or "")
        ledger.schedule(job.target or "", state.with_prompts(state.prompts.loaded(job.key)))
        ledger.tally.used(job, ledger.now, loads=1)
        _learn_load(ledger, job, message.seconds)
    if job and job.state is State.LOADING:
        ledger.put(replace(job, state=State.WORKING), job)


def _learn_load(ledger: Ledger, job: Job, seconds: float) -> None:
    """Record how long a load took, which the turn of its key is measured by."""
    target, outlook = job.target or "", ledger.outlook
    outlook.load_times = outlook.load_times.learned(target, job.key, seconds)
    ledger.store.set_note(ledger.name_of(LOADS), outlook.load_times.encoded())
    state = outlook.state_of(target)
    if turn := state.standing.turn(job.key):
        load = outlook.load_times.of(target, job.key) or 0.0
        ledger.schedule(target, state.with_standing(state.standing.changed(replace(turn, load=load))))


def finished(ledger: Ledger, message: Finished) -> None:
    """Store the answer of an attempt, or decide by its error what becomes of the job."""
    if message.claim is not None and message.claim.reply.undone:
        return
    job = _under_fence(ledger, message.job_id, message.fence)
    if job is None:
        used_tokens.answered_after_cancel(ledger, message)
        return
    if isinstance(message.outcome, ForemanError):
        free = _blames(ledger, job, message.outcome)
        again = failed(ledger, job, message.outcome, free=free, numbered=message.numbered)
        if isinstance(message.outcome, (TargetBusy, LoadTimeout)):
            until = again.ready_at or ledger.now + _rest(ledger, message.outcome)
            state = ledger.outlook.state_of(job.target or "")
            ledger.schedule(job.target or "", state.let_rest(job.key, ledger.now, until))
        return
    if job.state is State.LOADING:  # messages keep their order, so no Began was sent
        job = ledger.put(replace(job, state=State.WORKING), job)
    ledger.judge(job.target or "", job.key, None)
    if len(ledger.outlook.sites) > 1:  # else no prompt is better off elsewhere
        state = ledger.outlook.state_of(job.target or "")
        ledger.schedule(job.target or "", state.with_prompts(state.prompts.done(job.id, ledger.now)))
    if (tokens := message.outcome.tokens).counts_cached:
        state = ledger.outlook.state_of(job.target or "")
        prompts = state.prompts.learned(job.id, tokens.prompt, tokens.cached)
        ledger.schedule(job.target or "", state.with_prompts(prompts))
    used_tokens.count(ledger, job, tokens)
    ledger.line_counts.used(job, tokens)
    flaw = message.outcome.flaw
    error, code = (str(flaw), flaw.code) if flaw else (None, None)
    ended = ledger.ended(job, State.DONE, error=error, code=code)
    ledger.put(replace(ended, usage=message.outcome.usage), job, message.outcome.artifacts)


def rescue(ledger: Ledger, message: Rescue) -> int:
    """Requeue the running jobs of a worker, and return their number; it has left its claims too.

    Its target may be another server than before, or gone: what failed or rested there is forgotten.
    """
    ledger.claims.refuse(message.target)
    running = [job for job in ledger.running.values() if job.target not in message.others and ledger.is_ours(job)]
    for job in running:
        failed(ledger, job, Interrupted(), numbered=LOST)
    ledger.keep_turns(message.others)
    return len(running)


def _under_fence(ledger: Ledger, job_id: str, fence: int) -> Job | None:
    """Return the running job, or None when `fence` is no longer current."""
    job = ledger.running.get(job_id)
    return job if job and job.fence == fence else None


def failed(ledger: Ledger, job: Job, error: ForemanError, *, free: bool = False, numbered: int = 0) -> Job:
    """Requeue or fail a job after a failed attempt; with `free` the attempt does not count.

    The fence grows by the events that the attempt has `numbered`: see `domain/responses/numbers.py`.
    """
    if job.endpoint == RESPONSES.path:
        job = replace(job, fence=job.fence + numbered)
    now = ledger.now
    decision = after(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        backoff=ledger.rules.backoff,
        chance=ledger.chance(),
    )
    if free:
        until = ledger.outlook.state_of(job.target or "").breakers[model_of(job.key)].until or now
        decision = Again(wait=max(0.0, until - now), spent=False)
    if (free or isinstance(error, TargetBusy)) and _elsewhere(ledger, job):
        decision = Again(wait=0.0, spent=False)
    elif _may_differ(error) and job.attempt < job.max_attempts and _elsewhere(ledger, job):
        decision = Again(wait=0.0, spent=True)
    if isinstance(decision, Again):
        gave_way = job.gave_way + isinstance(error, Preempted)
        # A busy target may take other jobs meanwhile; after a load timeout another job tries the next load.
        behind = isinstance(error, LoadTimeout) or (decision.wait > 0 and not decision.spent)
        again = replace(
            job,
            state=State.QUEUED,
            attempt=job.attempt if decision.spent else job.attempt - 1,
            since=now if behind else job.since,
            ready_at=now + decision.wait if decision.wait > 0 else None,
            gave_way=gave_way,
            error=str(error),
            error_code=error.code,
        )
        return ledger.put(again, job)
    answer = [] if job.batch_id is None else [error_artifact(error)]
    return ledger.put(ledger.ended(job, State.FAILED, error=str(error), code=error.code), job, answer)


def _may_differ(error: ForemanError) -> bool:
    """Return True for a refusal that is the server's own: another one may have the model, or work."""
    return isinstance(error, TargetRefused) and (error.status == 404 or error.status >= 500)


def _blames(ledger: Ledger, job: Job, error: ForemanError) -> bool:
    """Record an error that the server is to blame for; return True when the attempt must not count."""
    target = job.target or ""
    breaker = ledger.outlook.state_of(target).breakers.get(model_of(job.key), Breaker())
    if not is_to_blame(error):
        return False
    ledger.judge(target, job.key, breaker.failed(job.id, error.code, ledger.now))
    return breaker.costs_nothing(job.id, ledger.now)


def _elsewhere(ledger: Ledger, job: Job) -> bool:
    """Return True if another target takes such jobs now."""
    sites = ledger.outlook.sites
    if len(sites) == 1 or (site := sites.get(job.target or "")) is None:
        return False
    return Candidates(ledger.outlook, site, ledger.occupancy, ledger.now).elsewhere(job)


def _rest(ledger: Ledger, error: TargetBusy | LoadTimeout) -> float:
    """Return the seconds for which a busy target gets no job of the key that another one takes meanwhile."""
    decision = after(error, attempt=0, max_attempts=1, backoff=ledger.rules.backoff, chance=ledger.chance())
    return decision.wait if isinstance(decision, Again) else ledger.rules.backoff.first
