"""The progress of a batch for people, and what is wrong with its input."""

from __future__ import annotations

from collections.abc import Iterator

from foreman.cli.console import StatusLine, span
from foreman.cli.plain import one_line
from foreman.client import Batched, Client
from foreman.domain.batches import ENDED, BatchState

PRINTED = 20  # faults shown one by one; --json lists all


def watch(client: Client, batch_id: str, *, silent: bool = False, checked: bool = False) -> Batched:
    """Show the progress of a batch until it has ended, with `checked` until its input is; return it as it is then."""
    with StatusLine(silent=silent) as status:
        for one in client.watch_batch(batch_id):
            if one.state in ENDED or (checked and one.state is not BatchState.VALIDATING):
                return one
            left = rest_of(one)
            status.show(f"{one.state.replace('_', ' ')}: {lines_of(one)}{f', {left} left' if left else ''}")
    raise AssertionError("a batch is watched to its end")


def lines_of(one: Batched) -> str:
    """Return the lines of a batch by their end, as text."""
    if one.total is None:
        return "the input is being checked"
    ends = {"done": one.done, "failed": one.failed, "cancelled": one.cancelled, "expired": one.expired}
    shown = [f"{count:,} {end}" for end, count in ends.items() if count]
    return f"{one.total:,} line{'' if one.total == 1 else 's'}" + (f", {', '.join(shown)}" if shown else "")


def rest_of(one: Batched) -> str:
    """Return the expected time until its end as text; empty when that is not known, or it has ended."""
    return f"about {span(one.eta_seconds)}" if one.eta_seconds and one.state not in ENDED else ""


def errors_of(one: Batched, name: str) -> Iterator[str]:
    """Yield what is wrong with the input `name`, a line for each fault."""
    for fault in one.errors[:PRINTED]:
        where = name if fault.line is None else f"{name}:{fault.line}"
        yield one_line(f"{where}: {fault.message} ({fault.code})")
    if len(one.errors) > PRINTED:
        yield f"… and {len(one.errors) - PRINTED:,} more; --json lists them all"
