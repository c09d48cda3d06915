"""How the engines find jobs by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # of a ULID: Crockford's base 32
TIME = 10  # digits of a ULID with its creation time in milliseconds
ROOM = 2**15  # numbers of the texts of one millisecond


@dataclass(frozen=True, slots=True)
class Match:
    """The SQL of an engine; each `?` is the value that `query` makes of the words."""

    query: Callable[[Sequence[str]], str]
    table: str
    found: str  # the condition on its rows
    all_ids: str  # the query for the ids of all jobs that have the words
    one_id: str  # the condition on a row of jobs
    most_tested: int  # jobs for which `one_id` may be tested in one answer
    joined: str = ""  # the table with that of jobs, to be walked by `number`; empty if jobs are walked by their ids


def first_number(job_id: str, *, following: bool = False) -> int:
    """Return the first number of the texts of jobs that were created in the same millisecond, or the `following` one.

    Whatever is not a ULID has a number too.
    """
    milliseconds = 0
    for digit in job_id[:TIME].ljust(TIME, "0"):
        milliseconds = milliseconds << 5 | max(DIGITS.find(digit), 0)
    return (min(milliseconds, 2**48 - 2) + following) * ROOM
