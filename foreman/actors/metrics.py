"""Metrics: counters and histograms for /metrics, since the start of the process."""

from __future__ import annotations

from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram

from foreman.domain.job import State
from foreman.domain.usage import OTHER
from foreman.queue.commands import Commit

MOST_MODELS = 200  # with series of their own, about sixty each

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended. Times are seconds."""

    model: str
    outcome: str  # done, cancelled, or the error's code
    waited: float  # since the job began to wait
    loading: float
    working: float
    prompt_tokens: int = 0
    answer_tokens: int = 0


class Metrics:
    """Counters and histograms that the actors update; gauges are read at scrape time, in http/routes/metrics.py."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self._registry, "namespace": "foreman"}
        self._events = Counter("changes", "Job events, by the state entered", ["state"], **made)
        self._attempts = Counter("attempts", "Attempts that ended, by outcome", ["model", "outcome"], **made)
        self._phases = Histogram(
            "phase_seconds", "Seconds of each attempt, by phase", ["model", "phase"], buckets=_SECONDS, **made
        )
        self._tokens = Counter("tokens", "Tokens read and written", ["model", "kind"], **made)
        self._loads = Counter("loads", "Models loaded", ["model"], **made)
        self._deliveries = Counter("deliveries", "Attempts to deliver a webhook, by outcome", ["outcome"], **made)
        self._restarts = Counter("restarts", "Actors that failed and were started again", ["actor"], **made)

        self._happened: dict[State, int] = {}  # events that the counter does not have yet: it costs much more
        self._models: set[str] = set()
        self._children: dict[tuple[object, ...], Any] = {}  # a lookup by labels costs more than the count itself

    def on_commit(self, commit: Commit) -> None:
        """Count the events of a commit."""
        for event in commit.events:
            self._happened[event.state] = self._happened.get(event.state, 0) + 1

    @property
    def registry(self) -> CollectorRegistry:
        """Return the registry, up to date. Call it on the event loop."""
        happened, self._happened = self._happened, {}
        for state, count in happened.items():
            self._of(self._events, state).inc(count)
        return self._registry

    def attempted(self, attempt: Attempted) -> None:
        """Count an attempt that has ended: outcome, phases and tokens."""
        model = self._named(attempt.model)
        self._of(self._attempts, model, attempt.outcome).inc()
        self._of(self._phases, model, "waited").observe(max(0.0, attempt.waited))
        self._of(self._phases, model, "loading").observe(max(0.0, attempt.loading))
        self._of(self._phases, model, "working").observe(max(0.0, attempt.working))
        if attempt.prompt_tokens:
            self._of(self._tokens, model, "prompt").inc(attempt.prompt_tokens)
        if attempt.answer_tokens:
            self._of(self._tokens, model, "answer").inc(attempt.answer_tokens)

    def loaded(self, model: str) -> None:
        """Count a load of the model."""
        self._of(self._loads, self._named(model)).inc()

    def delivered(self, status: int | None) -> None:
        """Count an attempt to deliver a webhook; `status` is None when the receiver did not answer."""
        self._of(self._deliveries, "unanswered" if status is None else f"{status // 100}xx").inc()

    def restarted(self, actor: str) -> None:
        """Count a restart of an actor."""
        self._of(self._restarts, actor).inc()

    @property
    def models(self) -> int:
        """Number of models that have series of their own."""
        return len(self._models)

    def _named(self, model: str) -> str:
        """Return the model as a label, or OTHER for a new one once MOST_MODELS are known."""
        if model not in self._models and len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(model)
        return model

    def _of(self, metric: Counter | Histogram, *labels: str) -> Any:
        child = self._children.get((metric, *labels))
        if child is None:
            child = self._children[metric, *labels] = metric.labels(*labels)
        return child
