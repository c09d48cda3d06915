"""Error codes with their statuses, and groups of them that operations share."""

from __future__ import annotations

from foreman.domain import errors
from foreman.domain.errors import ForemanError, Misrouted, TargetRefused
from foreman.http.errors import MISROUTED, status_of_kind

KINDS: list[type[ForemanError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ForemanError)
]
STATUSES = MISROUTED | {kind.code: status_of_kind(kind) for kind in KINDS if kind not in (Misrouted, TargetRefused)}

BODY = ("body_unreadable", "body_too_large", "memory_full", "too_slow", "request_timeout", "wrong_content_encoding")
WRITE = ("draining", "store_full", "store_busy", "store_away", "store_lost")
READ = ("invalid_json", "model_required", "field_invalid", "model_not_found", "target_down")
ASKED = ("rate_limited", "quota_exceeded", *READ)
PASSED = ("shortage", "target_unavailable", "target_lost", "target_silent", "target_garbled")
RUN = (
    *PASSED,
    "target_busy",
    "target_failed",
    "target_refused",
    "drained",
    "target_drained",
    "preempted",
    "attempt_timeout",
    "load_timeout",
    "model_crashed",
    "interrupted",
    "answer_too_large",
    "not_served",
)
ONE_JOB = ("job_not_found", "not_found", "job_unreadable")
