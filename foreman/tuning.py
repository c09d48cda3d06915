"""The settings that parts of the app hold: handed to them at the start, and again at each reload."""

from __future__ import annotations

from dataclasses import dataclass

from foreman import logs
from foreman.actors.attempt import Timeouts
from foreman.actors.past_queue import PastQueue
from foreman.actors.upstream import Upstream
from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.webhook_sender import WebhookSender
from foreman.budget import Budget
from foreman.config.checks import AUTO
from foreman.config.settings import Settings
from foreman.domain import intake
from foreman.domain.intake import Intake
from foreman.domain.quotas import Quota
from foreman.domain.rate import Rate
from foreman.domain.retry import Backoff
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.shares import Fairness
from foreman.domain.webhooks import addresses
from foreman.domain.webhooks.admission import Limits
from foreman.http.auth import Auth
from foreman.members import Makings
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook


def job_rules_of(settings: Settings) -> JobRules:
    """Return the settings for the life of jobs and deliveries."""
    return JobRules(
        max_queue=settings.max_queue,
        job_ttl=settings.job_ttl,
        batch_window=settings.batch_window,
        file_ttl=settings.file_ttl,
        usage_history=settings.usage_history,
        backoff=Backoff(settings.retry_backoff, settings.retry_backoff_max),
        lease=settings.lease,
        full_text=settings.full_text,
        private_jobs=settings.private_jobs,
        webhook_retries=settings.webhook_retries,
        webhook_backoff=Backoff(settings.webhook_backoff, settings.webhook_backoff_max),
        quotas={name: Quota(**quota.model_dump()) for name, quota in settings.quotas.items()},
    )


def timeouts_of(settings: Settings) -> Timeouts:
    """Return the limits of an attempt."""
    return Timeouts(
        attempt=settings.attempt_timeout,
        first_chunk=settings.first_chunk_timeout,
        stall=settings.stall_timeout,
        max_answer=settings.max_answer,
    )


def intake_of(settings: Settings) -> intake.Limits:
    """Return the limits of submissions."""
    return intake.Limits(settings.max_attempts, settings.max_body)


def order_of(settings: Settings) -> choose.OrderRules:
    """Return the settings for the order of jobs."""
    return choose.OrderRules(
        limit=settings.starvation_limit,
        share=settings.share,
        slots=1 if settings.slots == AUTO else settings.slots,
        fairness=Fairness(settings.fair_quantum, settings.weights),
        prefix_turns=settings.prefix_turns,
        give_way=settings.give_way,
        most_running={name: quota.running for name, quota in settings.quotas.items() if quota.running is not None},
    )


def receivers_of(settings: Settings) -> addresses.AddressRules:
    """Return the addresses that webhooks may go to."""
    return addresses.AddressRules.read(settings.webhook_allow, loopback=settings.only_loopback)


def secrets_of(settings: Settings) -> list[str]:
    """Return the secrets to sign webhooks with."""
    return [secret.get_secret_value() for secret in settings.webhook_secret]


def deliveries_of(settings: Settings) -> Limits:
    """Return the limits of concurrent deliveries."""
    return Limits(settings.webhook_concurrency, settings.webhook_per_receiver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The parts, outside the members of the fleet, that hold settings which may change while they run.

    A part takes them in its constructor and has them as attributes, or a method `change` where more must follow. It
    reads them at each use.
    """

    handlers: CommandHandlers
    outlook: Outlook
    makings: Makings  # of members; `Makings.change` is for each one that there is
    intake: Intake
    past_queue: PastQueue
    upstream: Upstream
    sender: WebhookSender
    webhooks: WebhookDispatcher
    budget: Budget
    rate: Rate
    auth: Auth

    def hand_over(self, settings: Settings) -> None:
        """Have all parts work by these settings from now on; there is no wait in it."""
        self.makings.timeout = self.upstream.timeouts = timeouts = timeouts_of(settings)
        self.handlers.change(job_rules_of(settings))
        self.outlook.rules = order_of(settings)
        self.intake.limits = intake_of(settings)
        self.past_queue.change(settings.embed_concurrency, timeouts)
        self.sender.change(receivers_of(settings), secrets=secrets_of(settings), timeout=settings.webhook_timeout)
        self.webhooks.change(deliveries_of(settings), inline=settings.artifact_inline_limit)
        self.budget.limit = settings.memory
        self.rate.change(settings.rate, settings.rate_burst)
        self.auth.change(settings)
        logs.set_level(settings.log_level)
