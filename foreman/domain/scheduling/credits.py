"""The credits of the classes: what part of the slot time one that starves is owed, and what each has spent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from foreman.domain.scheduling.choose import OrderRules, Spent, Standing

NEXT_TO_NOTHING = 1e-6  # seconds; sums of floats are not exact
IN_A_ROW = 2  # jobs that may start in succession while a job of a higher class waits
OF_ITS_OWN = 10  # parts of the limit; the time of its own in one of them counts against a class's share


def next_class(
    oldest: Mapping[int, float], standing: Standing, running: Mapping[int, int], now: float, rules: OrderRules
) -> tuple[int, bool]:
    """Return the class that goes next, and True if it overtakes a waiting higher one."""
    highest = min(oldest)
    if len(standing.started) == IN_A_ROW and min(standing.started) > highest:
        return highest, False  # it has waited for IN_A_ROW lower jobs already
    owed = [
        priority
        for priority in oldest
        if priority > highest
        and standing.credits[priority] > NEXT_TO_NOTHING
        and starves(priority, oldest, now, rules)
        and running.get(priority, 0) < rules.share * rules.slots
    ]
    if not owed:
        return highest, False
    return max(owed, key=lambda priority: (round(standing.credits[priority], 3), -priority)), True


def starves(priority: int, oldest: Mapping[int, float], now: float, rules: OrderRules) -> bool:
    """Return True for a class whose oldest job has waited longer than the limit."""
    return priority in oldest and now - oldest[priority] > rules.limit


def charge(
    standing: Standing,
    spent: Spent,
    oldest: Mapping[int, float],
    running: Mapping[int, int],
    now: float,
    rules: OrderRules,
) -> Standing:
    """Return the standing after every class has earned its share of the time and the spending class has paid.

    Time that a class got as the highest one counts as well, as far as a tenth of `limit` would earn it: a class with
    time of its own is owed none between two jobs of a higher one. A credit is kept only while its class starves, and
    is capped at the earnings of one `limit`. It is not cut while a job of the class runs, since that job is paid at its
    end.
    """
    credits = []
    for priority, credit in enumerate(standing.credits):
        if priority != spent.priority:
            credit += rules.share * spent.seconds
        else:
            credit = (
                credit - (1 - rules.share) * spent.seconds if spent.reserved else _after_its_own(credit, spent, rules)
            )
        if not running.get(priority):
            most = rules.share * rules.limit if starves(priority, oldest, now, rules) else 0.0
            credit = min(credit, most)
        credits.append(credit)
    return replace(standing, credits=tuple(credits))


def spend_alone(standing: Standing, spent: Spent, classes: Collection[int], rules: OrderRules) -> Standing | None:
    """Return what `spend` would; None where another class competes, and more than the spending one's credit changes.

    `classes` are those of the jobs that wait or run.
    """
    own, credits = spent.priority, standing.credits
    if spent.reserved or credits[own] > 0 or any(one != own for one in classes):
        return None
    if any(credit for priority, credit in enumerate(credits) if priority != own):
        return None
    credit = _after_its_own(credits[own], spent, rules)
    return (
        standing if credit == credits[own] else replace(standing, credits=(*credits[:own], credit, *credits[own + 1 :]))
    )


def _after_its_own(credit: float, spent: Spent, rules: OrderRules) -> float:
    """Return a class's credit after time that it got as the highest one; class `high` needs none."""
    least = -rules.share * rules.limit / OF_ITS_OWN if spent.priority else 0.0
    return max(credit - (1 - rules.share) * spent.seconds, min(credit, least))
