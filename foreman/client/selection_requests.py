"""The requests of actions on many jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from foreman.client.quoting import query
from foreman.client.requests import Ask
from foreman.domain.views import Acted, CancelledMany

Verb: TypeAlias = Literal["cancel", "retry", "delete"]  # of an action on all selected jobs

ACTS = 300.0  # seconds that an action on 100,000 jobs may take


def act(verb: Verb, dry_run: bool, filters: Mapping[str, object]) -> Ask[Acted]:
    """Act on all jobs that the filters select, or count them."""
    return Ask(Acted, f"/jobs/{verb}", "POST", params=query(_given(dry_run, filters)), held=ACTS)


def cancel(dry_run: bool, filters: Mapping[str, object]) -> Ask[CancelledMany]:
    """Cancel all jobs that the filters select, or count them."""
    return Ask(CancelledMany, "/jobs/cancel", "POST", params=query(_given(dry_run, filters)), held=ACTS)


def uncancel(changes: str) -> Ask[Acted]:
    """Take a cancel of many back."""
    return Ask(Acted, "/jobs/uncancel", "POST", params={"changes": changes}, held=ACTS)


def _given(dry_run: bool, filters: Mapping[str, object]) -> dict[str, Any]:
    return {**filters, "dry_run": "true" if dry_run else None}
