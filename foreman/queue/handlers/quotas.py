"""The quotas of tokens, as submissions meet them."""

from __future__ import annotations

from collections.abc import Mapping

from foreman.domain.errors import QuotaExceeded, Unavailable
from foreman.domain.quotas import counted_from, seconds_until_below, tokens_used
from foreman.domain.usage import MINUTE
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.spent import tokens_by_minute

SOON = 1.0  # seconds: the shortest wait that a full quota answers


def room(ledger: Ledger, owner: str) -> float:
    """Return how many more jobs of a token may wait; without end where there is no limit."""
    quota = ledger.rules.quotas.get(owner)
    if quota is None or quota.waiting is None:
        return float("inf")
    return quota.waiting - ledger.outlook.board.by_owner[owner]


def check_waiting(ledger: Ledger, owner: str, more: int = 0) -> None:
    """Raise QuotaExceeded unless one job of a token may wait besides `more` new ones."""
    if room(ledger, owner) <= more:
        limit = ledger.rules.quotas[owner].waiting or 0
        waiting = ledger.outlook.board.by_owner[owner] + more
        raise QuotaExceeded(_jobs(owner, waiting), limit, _until_a_start(ledger, owner))


def check_tokens(ledger: Ledger, owner: str) -> None:
    """Raise QuotaExceeded when the jobs of a token have used too many tokens in the last hour."""
    quota = ledger.rules.quotas.get(owner)
    if quota is None or quota.tokens_per_hour is None:
        return
    used = _used(ledger, owner)
    if (total := tokens_used(used, ledger.now)) >= quota.tokens_per_hour:
        wait = seconds_until_below(quota.tokens_per_hour, used, ledger.now)
        raise QuotaExceeded(f"{owner} used {total} tokens in the last hour", quota.tokens_per_hour, wait)


def _jobs(owner: str, count: int) -> str:
    return f"{owner} has {count} waiting {'job' if count == 1 else 'jobs'}"


def _until_a_start(ledger: Ledger, owner: str) -> float:
    """Return about how many seconds pass until a job of the token starts."""
    head = ledger.refreshed().board.head_of(owner)
    job = ledger.store.job(head.id) if head else None
    starts = ledger.outlook.of(ledger.store, job, ledger.now, roughly=True).starts if job else None
    return Unavailable.retry_after if starts is None else max(SOON, starts)


def _used(ledger: Ledger, owner: str) -> Mapping[int, int]:
    """Return the tokens that a token's jobs used, by the minutes of the last hour and more."""
    used = ledger.tokens.get(owner)
    if used is None:
        used = ledger.tokens[owner] = tokens_by_minute(ledger.store, owner, ledger.now)
        for slot, figures in ledger.tally.figures.items():  # of this transaction
            if slot.step == MINUTE and slot.group.caller == owner:
                used[slot.at] = used.get(slot.at, 0) + figures.prompt_tokens + figures.answer_tokens
    return used


def note_tokens(ledger: Ledger, owner: str, tokens: int) -> None:
    """Count the tokens of a job that has ended, before the usage figures have them."""
    used = ledger.tokens.get(owner)
    if used is None:
        return
    at = int(ledger.now // MINUTE * MINUTE)
    used[at] = used.get(at, 0) + tokens
    begin = counted_from(ledger.now)
    for old in [minute for minute in used if minute < begin]:
        del used[old]
