"""The selection of a list of jobs: filters, order and cursor from the query."""

from __future__ import annotations

import re
from typing import Any

from quart import request

from foreman.domain.batches import BATCH_ID
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.errors import FieldInvalid
from foreman.domain.job import JOB_ID, TERMINAL, Priority, State
from foreman.domain.words import terms_of
from foreman.http.context import context
from foreman.http.query import choice, instant
from foreman.store.records import Cursor, Order, Selection

FILTERS = (
    "id",
    "custom_id",
    "state",
    "model",
    "priority",
    "endpoint",
    "error_code",
    "batch_id",
    "target",
    "caller",
    "metadata.NAME",
    "created_after",
    "created_before",
    "ended_after",
    "q",
)
PART_OF_ID = "[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{6,26}"
CURSOR = rf"(\d{{1,12}}\.\d{{1,9}}_)?({JOB_ID})"
LONGEST = 256  # characters of a filter
METADATA = "metadata."
# Metadata are found in the text of their JSON. There, a name that begins like what follows the end of a text could be
# taken for that end.
METADATA_NAME = r"(?![,:}])[^\0]{0,64}"
MOST_METADATA = 16  # pairs that a job may have
MOST_VALUE = 1024  # characters of one of their values


def read_selection() -> Selection:
    """Return the filters of the query. Raise FieldInvalid for a bad value."""
    named = [name for name in FILTERS if not name.startswith(METADATA)]  # metadata may be empty, also one called NAME
    asked: dict[str, Any] = {name: request.args[name] for name in named if name in request.args}
    for name, value in asked.items():
        if not value or len(value) > LONGEST or "\0" in value:
            raise FieldInvalid(name, value, f"must be 1 to {LONGEST} characters without NUL")
    return Selection(
        id=_part_of_id(asked.get("id")),
        custom_id=asked.get("custom_id"),
        states=_states(asked.get("state")),
        models=_names(asked.get("model")),
        priority=choice("priority", asked.get("priority"), {p.word: p for p in Priority}),
        endpoint=choice("endpoint", asked.get("endpoint"), {endpoint: endpoint for endpoint in ENDPOINTS}),
        error_code=asked.get("error_code"),
        batch_id=_batch(asked.get("batch_id")),
        target=asked.get("target"),
        metadata=_metadata(),
        caller=asked.get("caller"),
        created_after=instant("created_after", asked.get("created_after")),
        created_before=instant("created_before", asked.get("created_before")),
        ended_after=instant("ended_after", asked.get("ended_after")),
        q=_words(asked.get("q")),
    )


def has_filter() -> bool:
    """Return True if the query has a filter at all."""
    return any(name in FILTERS or name.startswith(METADATA) for name in request.args)


def read_order(wanted: Selection) -> Order:
    """Return the order of the list. Raise FieldInvalid for a bad one, or one that the states rule out."""
    order: Order = choice("order", request.args.get("order"), {order.value: order for order in Order}) or Order.NEWEST
    if order is Order.ENDED and (endless := set(wanted.states) - TERMINAL):
        allowed = ", ".join(state for state in State if state in TERMINAL)
        raise FieldInvalid("state", ", ".join(sorted(endless)), f"must be one of {allowed} with order=ended")
    return order


def read_cursor(order: Order) -> Cursor | None:
    """Return the cursor, if given. Raise FieldInvalid for a malformed one, or one of another order."""
    after = request.args.get("after")
    if after is None:
        return None
    match = re.fullmatch(CURSOR, after, re.ASCII)
    if match is None or (order is Order.ENDED) != bool(match[1]):
        raise FieldInvalid("after", after, "must be the `next` of the previous page, in the same order")
    return Cursor(match[2], float(match[1][:-1]) if match[1] else 0.0)


def show_cursor(cursor: Cursor, order: Order) -> str:
    """Return the cursor as `read_cursor` takes it."""
    return f"{float(cursor.ended)!r}_{cursor.id}" if order is Order.ENDED else cursor.id


def _part_of_id(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(PART_OF_ID, given):
        raise FieldInvalid("id", given, "must be a job id, or 6 or more characters of its beginning or its end")
    return given and given.upper()


def _batch(given: str | None) -> str | None:
    if given is not None and not BATCH_ID.fullmatch(given):
        raise FieldInvalid("batch_id", given, "must be the id of a batch")
    return given


def _metadata() -> tuple[tuple[str, str], ...]:
    found = []
    for name, value in sorted(request.args.items()):
        if not name.startswith(METADATA):
            continue
        if not re.fullmatch(METADATA_NAME, key := name.removeprefix(METADATA), re.DOTALL):
            raise FieldInvalid(
                "query",
                name,
                "the NAME of metadata.NAME must be up to 64 characters without NUL, and not begin with , : or }",
            )
        if len(value) > MOST_VALUE or "\0" in value:
            raise FieldInvalid(name, value, f"must be at most {MOST_VALUE} characters without NUL")
        found.append((key, value))
    if len(found) > MOST_METADATA:
        raise FieldInvalid("query", f"{len(found)} of metadata.NAME", f"must be at most {MOST_METADATA}")
    return tuple(found)


def _words(given: str | None) -> tuple[str, ...]:
    try:
        return () if given is None else tuple(terms_of(given))
    except ValueError as error:
        raise FieldInvalid("q", str(given), str(error)) from error


def _states(given: str | None) -> tuple[State, ...]:
    words = [word.strip() for word in given.split(",")] if given else []
    states = {state.value: state for state in State}
    return tuple(dict.fromkeys(choice("state", word, states) for word in words))


def _names(given: str | None) -> tuple[str, ...]:
    """Return a model's name as given, and the target's own name for it if known."""
    if given is None:
        return ()
    found = context().fleet.find(given)
    return tuple(dict.fromkeys((given, found.name))) if found else (given,)
