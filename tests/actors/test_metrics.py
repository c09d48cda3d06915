"""The metrics: what they tell of stays bounded."""

from __future__ import annotations

from foreman.actors.metrics import MOST_MODELS, Attempted, Metrics
from foreman.domain.usage import OTHER

MANY = 300


def test_models_beyond_the_first_ones_are_counted_together() -> None:
    metrics = Metrics()
    for number in range(MANY):
        metrics.loaded(f"m{number}")
        metrics.attempted(
            Attempted(
                model=f"m{number}", outcome="done", waited=1, loading=1, working=1, prompt_tokens=1, answer_tokens=1
            )
        )
    seen: dict[str, set[str]] = {}
    for sample in (sample for metric in metrics.registry.collect() for sample in metric.samples):
        if "model" in sample.labels:
            seen.setdefault(sample.name, set()).add(sample.labels["model"])
    assert {name: len(models) for name, models in seen.items()} == dict.fromkeys(seen, MOST_MODELS + 1)
    told = {"outcome": "done"}
    assert metrics.registry.get_sample_value("foreman_attempts_total", {"model": OTHER, **told}) == MANY - MOST_MODELS
    assert metrics.registry.get_sample_value("foreman_attempts_total", {"model": "m0", **told}) == 1
    assert metrics.models == MOST_MODELS
