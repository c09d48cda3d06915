"""The settings that the handlers follow: the life of jobs, of their batches and of what tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foreman.domain.quotas import Quota
from foreman.domain.retry import Backoff


@dataclass(frozen=True, slots=True)
class JobRules:
    """The settings for the life of jobs and deliveries."""

    max_queue: int = 100_000
    job_ttl: float = 7 * 86400  # seconds; 0: unlimited
    batch_window: float = 86400  # seconds; 0: unlimited
    file_ttl: float = 30 * 86400  # seconds; 0: unlimited
    usage_history: float = 400 * 86400  # seconds; 0: unlimited
    backoff: Backoff = field(default_factory=lambda: Backoff(2, 300))
    webhook_retries: int = 5
    webhook_backoff: Backoff = field(default_factory=lambda: Backoff(5, 600))
    lease: float = 20.0  # seconds after which a silent node is evicted
    full_text: bool = False  # index the words of requests and answers
    private_jobs: bool = False  # callers see their own jobs alone
    quotas: Mapping[str, Quota] = field(default_factory=dict)  # by name of a token
