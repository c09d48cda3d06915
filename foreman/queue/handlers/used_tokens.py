"""Tokens that attempts used: counted in the usage figures and for the quotas of tokens."""

from __future__ import annotations

from foreman.domain.errors import ForemanError
from foreman.domain.job import Job, State
from foreman.domain.usage import Tokens
from foreman.queue.commands import BrokenOff, Finished
from foreman.queue.handlers import quotas
from foreman.queue.handlers.ledger import Ledger


def count(ledger: Ledger, job: Job, tokens: Tokens) -> None:
    """Count the tokens of an attempt, now."""
    ledger.tally.used(job, ledger.now, tokens=tokens)
    quotas.note_tokens(ledger, job.owner, tokens.prompt + tokens.answer)


def broken_off(ledger: Ledger, message: BrokenOff) -> None:
    """Count the tokens of an attempt that its caller ended, or that took too long."""
    count(ledger, message.job, message.tokens)


def answered_after_cancel(ledger: Ledger, message: Finished) -> None:
    """Count the tokens of an answer that came after its job was cancelled: else a cancel at its end would be free."""
    if isinstance(message.outcome, ForemanError):
        return
    job = ledger.store.job(message.job_id)
    if job and job.state is State.CANCELLED and job.fence == message.fence:
        count(ledger, job, message.outcome.tokens)
