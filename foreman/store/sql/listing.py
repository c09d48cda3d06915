"""The SQL of job lists: the index to read a selection by, and the conditions to test; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from msgspec.json import encode

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import RUNNING, TERMINAL, Instant, Priority, State
from foreman.store.records import Cursor, Order, Selection
from foreman.store.sql.match import DIGITS, Match, first_number

FEW = 10_000  # jobs that may be read and sorted for one answer
ID_LENGTH = 26  # characters of a ULID

# An id contains its creation time, which is a little before the job was stored. A margin of an hour is ample and still
# narrows the walk; the stored times decide.
_SLACK = 3600
_LAST = "\U0010ffff" * 64  # sorts after every continuation of a custom id

Values: TypeAlias = list[object]


@dataclass(frozen=True, slots=True)
class Test:
    """A condition and its values."""

    sql: str
    values: Sequence[object] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of an index; an empty `index` means the table itself, by id."""

    index: str
    tests: Sequence[Test] = ()
    by_age: bool = True  # False when its jobs have to be sorted for a list by age
    source: Test | None = None  # what is read in place of the table alone
    words: bool = False  # True when its tests include the words of the selection
    joined: str = ""  # to walk instead of an index: tables that are joined to the one of jobs, with numbers by age


Way: TypeAlias = Sequence[Range]  # stretches that together hold every job of a selection


def ways(wanted: Selection) -> list[Way]:
    """Return the ways by index, likely the shortest first; none if no filter has an index.

    Jobs on a way must still be tested against the whole selection.
    """
    found: list[Way] = []
    if wanted.ids:
        return [[Range("", [_among("id", wanted.ids)])]]
    if wanted.id is not None:
        return [_by_id(wanted.id)]
    if wanted.custom_id is not None:
        found.append([Range("jobs_by_custom_id", [_custom_id(wanted.custom_id)])])
    if wanted.batch_id is not None:
        found.append([Range("jobs_by_batch", [_is("batch_id", wanted.batch_id)])])
    if wanted.error_code is not None:
        found.append([Range("jobs_by_error_code", [_is("error_code", wanted.error_code)])])
    states = wanted.states or tuple(State)
    if wanted.owner:
        named = Test("owner <> ''")  # the condition of the partial index
        found.append(
            [Range("jobs_by_owner", [named, _is("owner", wanted.owner), _is("state", state)]) for state in states]
        )
    if wanted.caller:
        found.append([one for state in states for one in _by_caller(wanted.caller, state)])
    if wanted.models:
        found.append([one for model, state in product(wanted.models, states) for one in _by_model(model, state)])
    if wanted.endpoint is not None or wanted.priority is not None:
        endpoints = ENDPOINTS if wanted.endpoint is None else [wanted.endpoint]
        priorities = list(Priority) if wanted.priority is None else [wanted.priority]
        found.append(
            [
                Range("jobs_by_endpoint", [_is("endpoint", endpoint), _is("priority", priority)])
                for endpoint, priority in product(endpoints, priorities)
            ]
        )
    if wanted.target is not None:
        found.append(_by_target(wanted.target))
    if wanted.states and not wanted.models:  # the ways by model include the states
        found.append([Range("jobs_by_state", [_is("state", state)]) for state in wanted.states])
    if wanted.ended_after is not None:
        found.append([_ended(state, wanted.ended_after) for state in wanted.states or TERMINAL if state in TERMINAL])
    return [way for way in found if way]


def along_metadata(wanted: Selection) -> Way:
    """Return the way along all jobs with the metadata of a selection, the newest first.

    The table is not read, unless there is something else to test.
    """
    return [Range("jobs_by_metadata", [Test("metadata IS NOT NULL"), *_metadata(wanted)])]


def by_metadata(wanted: Selection) -> Way:
    """Return the way by those jobs alone, which are found before anything else is tested."""
    [along] = along_metadata(wanted)
    where, given = _where(along.tests)
    # A cross join fixes the order; of `id IN (SELECT …)` the planner may make a test of every job.
    first = Test(f"(SELECT id AS found_id FROM {_from(along)} {where}) AS found_first CROSS JOIN jobs", given)
    return [Range("", [Test("id = found_id")], by_age=False, source=first)]


def walk(wanted: Selection, order: Order) -> Way:
    """Return the way along all jobs in their order, without sorting."""
    if order is Order.NEWEST:
        return [Range("")]
    return [Range("jobs_by_end", [_is("state", state)]) for state in wanted.states or sorted(TERMINAL)]


def by_words(wanted: Selection, match: Match) -> Way:
    """Return the way along all jobs that have the words of a selection; they are sorted."""
    return [Range("", [Test(f"id IN ({match.all_ids})", [match.query(wanted.q)])], words=True)]


def along_words(wanted: Selection, match: Match) -> Way:
    """Return the way along the jobs that have the words of a selection, the newest first, without sorting."""
    if not match.joined:
        return [Range("")]
    return [Range("", [Test(match.found, [match.query(wanted.q)])], words=True, joined=match.joined)]


def matches(wanted: Selection, match: Match, most: int) -> tuple[str, Values]:
    """Return the statement for the number of jobs that have the words of a selection, exact up to `most`."""
    found = f"SELECT 1 FROM {match.table} WHERE {match.found} LIMIT ?"
    return f"SELECT count(*) FROM ({found}) AS found", [match.query(wanted.q), most]


def page(
    way: Way, wanted: Selection, order: Order, after: Cursor | None, limit: int, match: Match
) -> tuple[str, Values]:
    """Return the statement for (ended, id) of up to `limit` jobs after a cursor, in order."""
    key, down = (
        ("CAST(0 AS REAL)", "id DESC") if order is Order.NEWEST else ("completed_at", "completed_at DESC, id DESC")
    )
    rest = _tests(wanted)
    if order is Order.ENDED:
        rest.append(Test("completed_at IS NOT NULL"))
    if after is not None and order is Order.NEWEST:
        rest.append(Test("id < ?", [after.id]))
    elif after is not None:
        rest.append(Test("(completed_at, id) < (?, ?)", [after.ended, after.id]))
    parts, values = [], []
    for one in way:
        tests, along = [*one.tests, *rest], down
        if wanted.q and not one.words:
            tests.append(Test(match.one_id, [match.query(wanted.q)]))
        if one.joined:
            tests += _numbers(wanted, after)
            along = "search.rowid DESC"  # by `number` SQLite would sort all of them
        where, given = _where(tests)
        parts.append(
            f"SELECT * FROM (SELECT {key} AS ended, id FROM {_from(one)} {where} ORDER BY {along} LIMIT ?) AS part"
        )
        values += [*_given_first(one), *given, limit]
    union = " UNION ".join(parts)  # two names of one model may find the same job
    return f"SELECT ended, id FROM ({union}) AS found ORDER BY ended DESC, id DESC LIMIT ?", [*values, limit]


def total(way: Way, wanted: Selection, most: int, match: Match) -> tuple[str, Values]:
    """Return the statement for the number of selected jobs, exact up to `most`."""
    sql, values = page(way, wanted, Order.NEWEST, None, most, match)
    return f"SELECT count(*) FROM ({sql}) AS selected", values


def count(way: Way, wanted: Selection, most: int) -> tuple[str, Values]:
    """Return the statement for the number of jobs on a way, exact up to `most`."""
    parts, values = [], []
    for one in way:
        where, given = _where([*one.tests, *_times(wanted)])
        parts.append(f"SELECT count(*) AS n FROM (SELECT 1 FROM {_from(one)} {where} LIMIT ?) AS part")
        values += [*_given_first(one), *given, most]
    return f"SELECT sum(n) FROM ({' UNION ALL '.join(parts)}) AS parts", values


def _given_first(one: Range) -> Sequence[object]:
    return one.source.values if one.source else ()


def _from(one: Range) -> str:
    if one.source:
        return one.source.sql
    if one.joined:
        return one.joined
    return f"jobs INDEXED BY {one.index}" if one.index else "jobs NOT INDEXED"


def _where(tests: Iterable[Test]) -> tuple[str, Values]:
    found = list(tests)
    where = f"WHERE {' AND '.join(test.sql for test in found)}" if found else ""
    return where, [value for test in found for value in test.values]


def _by_model(model: str, state: State) -> list[Range]:
    alias = Test("model <> canonical")
    return [
        Range("jobs_by_canonical", [_is("canonical", model), _is("state", state)]),
        Range("jobs_by_alias", [_is("model", model), alias, _is("state", state)]),
    ]


def _by_caller(caller: str, state: State) -> list[Range]:
    return [
        Range(f"jobs_by_{column}", [Test(f"{column} <> ''"), _is(column, caller), _is("state", state)])
        for column in ("owner", "caller")
    ]


def _by_target(target: str) -> Way:
    ended = Test("state NOT IN ('loading', 'working')")  # the condition of the partial index
    running = [Range("jobs_by_state", [_is("state", state)]) for state in sorted(RUNNING)]
    return [Range("jobs_by_target", [_is("target", target), ended]), *running]


def _ended(state: State, after: Instant) -> Range:
    return Range("jobs_by_end", [_is("state", state), Test("completed_at >= ?", [after])], by_age=False)


def _by_id(given: str) -> Way:
    if len(given) == ID_LENGTH:
        return [Range("", [_is("id", given)])]
    # An index of the ends would cost a random write per job; reading all ids takes some tenths of a second for a
    # million.
    ends = _ends("id", given)
    found = Test(f"id IN (SELECT id FROM jobs INDEXED BY jobs_by_state WHERE {ends.sql})", ends.values)
    return [Range("", [_begins("id", given)]), Range("", [found])]


def _tests(wanted: Selection) -> list[Test]:
    """Return every condition of a selection, starting with the id ranges of its times."""
    tests = _times(wanted)
    if wanted.ids:
        tests.append(_among("id", wanted.ids))
    if wanted.alone:
        tests.append(Test("batch_id IS NULL"))
    if wanted.id is not None:
        begins, ends = _begins("id", wanted.id), _ends("id", wanted.id)
        tests.append(Test(f"({begins.sql} OR {ends.sql})", [*begins.values, *ends.values]))
    if wanted.custom_id is not None:
        tests.append(_custom_id(wanted.custom_id))
    for column in ("error_code", "endpoint", "priority", "owner", "batch_id", "target"):
        if (value := getattr(wanted, column)) is not None:
            tests.append(_is(column, value))
    if wanted.caller is not None:
        tests.append(Test("(owner = ? OR caller = ?)", [wanted.caller, wanted.caller]))
    if wanted.states:
        tests.append(_among("state", wanted.states))
    if wanted.models:
        canonical, model = _among("canonical", wanted.models), _among("model", wanted.models)
        tests.append(Test(f"({canonical.sql} OR {model.sql})", [*canonical.values, *model.values]))
    if wanted.created_after is not None:
        tests.append(Test("created_at >= ?", [wanted.created_after]))
    if wanted.created_before is not None:
        tests.append(Test("created_at < ?", [wanted.created_before]))
    if wanted.ended_after is not None:
        tests.append(Test("completed_at >= ?", [wanted.ended_after]))
    return tests + _metadata(wanted)


def _metadata(wanted: Selection) -> list[Test]:
    """Return the tests of the metadata: each pair is in their JSON, as it was written, after a brace or a comma.

    No text within JSON looks so, unless the name begins with what follows the end of a text: see `read_selection`.
    """
    pairs = (f"{encode(name).decode()}:{encode(value).decode()}" for name, value in wanted.metadata)
    return [Test("(instr(metadata, ?) > 0 OR instr(metadata, ?) > 0)", ["{" + pair, "," + pair]) for pair in pairs]


def _times(wanted: Selection) -> list[Test]:
    tests = []
    if wanted.created_after is not None:
        tests.append(Test("id >= ?", [_first_id(wanted.created_after - _SLACK)]))
    if wanted.created_before is not None:
        tests.append(Test("id < ?", [_first_id(wanted.created_before + _SLACK)]))
    return tests


def _numbers(wanted: Selection, after: Cursor | None) -> list[Test]:
    """Return the conditions on the numbers of texts, which begin like the ids of their jobs."""
    tests = []
    if wanted.created_after is not None:
        tests.append(Test("search.rowid >= ?", [first_number(_first_id(wanted.created_after - _SLACK))]))
    ends = [after.id] if after else []
    if wanted.created_before is not None:
        ends.append(_first_id(wanted.created_before + _SLACK))
    return tests + [Test("search.rowid < ?", [first_number(end, following=True)]) for end in ends]


def _first_id(at: Instant) -> str:
    """Return the lowest id that can be created at a time."""
    milliseconds = min(max(int(at * 1000), 0), 2**48 - 1)
    return "".join(DIGITS[milliseconds >> shift & 31] for shift in range(45, -1, -5)) + "0" * 16


def _is(column: str, value: object) -> Test:
    return Test(f"{column} = ?", [value])


def _among(column: str, values: Sequence[object]) -> Test:
    return Test(f"{column} IN ({', '.join('?' * len(values))})", values)


def _begins(column: str, with_: str) -> Test:
    return Test(f"{column} >= ? AND {column} <= ?", [with_, with_ + _LAST])


def _ends(column: str, with_: str) -> Test:
    return Test(f"substr({column}, length({column}) - {len(with_) - 1}) = ?", [with_])


def _custom_id(given: str) -> Test:
    return _begins("custom_id", given[:-1]) if given.endswith("*") else _is("custom_id", given)
