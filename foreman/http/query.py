"""Query parameters: read, or refused with the allowed values."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from quart import request

from foreman.domain.errors import FieldInvalid
from foreman.domain.job import Instant
from foreman.domain.times import read_time

PAGE = 50
LONGEST_PAGE = 500
SEQ_DIGITS = 15  # of the seq of an event: more than there will ever be
MOST_SEQ = 10**SEQ_DIGITS - 1
UTF_8 = "must be UTF-8, percent-encoded"


def not_text(query: bytes) -> tuple[str, str] | None:
    """Return name and value of the first parameter that is not UTF-8, or None: `%ff` would be read as a word."""
    if query.isascii() and b"%" not in query:
        return None
    for pair in query.split(b"&"):
        try:
            unquote_to_bytes(pair).decode()
        except UnicodeDecodeError:
            shown = pair.decode("ascii", "backslashreplace")
            name, _, value = shown.partition("=")
            return (name, value) if name.replace(".", "_").isidentifier() else ("query", shown)
    return None


def check_names(*known: str) -> None:
    """Raise FieldInvalid for an unknown or repeated parameter: a misspelt filter would let everything through.

    A name that is known as `WORD.NAME` stands for all that begin with `WORD.`.
    """
    families = tuple(name.removesuffix("NAME") for name in known if name.endswith(".NAME"))
    unknown = sorted(name for name in set(request.args) - set(known) if not name.startswith(families))
    if unknown:
        raise FieldInvalid("query", ", ".join(unknown), f"must be one of {', '.join(known)}")
    for name, values in request.args.lists():
        if len(values) > 1:
            raise FieldInvalid(name, ", ".join(values), "must be given once")


def read_limit() -> int:
    """Return `?limit=`, the number of jobs in a list."""
    return whole("limit", request.args.get("limit"), PAGE, LONGEST_PAGE)


def choice(name: str, given: str | None, allowed: dict[str, Any]) -> Any:
    """Return the value that `allowed` maps the parameter to, None without one. Raise FieldInvalid for another."""
    if given is None:
        return None
    if given not in allowed:
        raise FieldInvalid(name, given, f"must be one of {', '.join(allowed)}")
    return allowed[given]


def read_seq(given: str | None, default: int, error: type[FieldInvalid] = FieldInvalid) -> int:
    """Return `?after=`, the seq of an event. Raise `error` for anything else."""
    return whole("after", given, default, MOST_SEQ, least=0, error=error)


def whole(
    name: str,
    given: str | None,
    default: int,
    most: int,
    *,
    least: int = 1,
    error: type[FieldInvalid] = FieldInvalid,
) -> int:
    """Return the parameter as a whole number from `least` to `most`. Raise `error` for anything else."""
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(most)) and least <= int(given) <= most):
        raise error(name, given, f"must be a whole number from {least} to {most}")
    return int(given)


def instant(name: str, given: str | None) -> Instant | None:
    """Return an RFC 3339 time as seconds since the epoch, None without one. Raise FieldInvalid for anything else."""
    if given is None:
        return None
    try:
        return read_time(given.replace(" ", "+"))  # an unescaped + of a time zone arrives as a blank
    except ValueError as error:
        raise FieldInvalid(name, given, str(error)) from None
