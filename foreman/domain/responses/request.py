"""What a request for a response asks of Foreman, and not of the target."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from foreman.domain.errors import FieldInvalid
from foreman.domain.fields import MOST_OWN_BYTES, begin_of, size_of

WINDOWS = ("soonest", "2h", "8h")  # of background_options.completion_window
_NULL = msgspec.Raw(b"null")
_BOOLEANS = {"true": True, "false": False}


class Wanted(msgspec.Struct, frozen=True):
    """The fields of a request for a response that Foreman acts on."""

    background: bool = False  # answered at once; the job goes on without its caller
    stored: bool = True  # kept after its answer, to be read and continued
    previous: str | None = None  # the id of the response that it continues
    may_wait: bool = False  # for hours


def read_wanted(payload: Mapping[str, msgspec.Raw]) -> Wanted:
    """Return what a request for a response asks of Foreman. Raise FieldInvalid."""
    if _value(payload, "conversation") is not None:
        allowed = "is not supported: leave it out, and name the response to continue in previous_response_id"
        raise FieldInvalid("conversation", begin_of(payload["conversation"]), allowed)
    background, stored = _boolean(payload, "background", False), _boolean(payload, "store", True)
    if background and not stored:
        raise FieldInvalid("store", "false", "must not be false with background, or nobody could read the answer")
    previous = _value(payload, "previous_response_id")
    if previous is not None and not isinstance(previous, str):
        given = begin_of(payload["previous_response_id"])
        raise FieldInvalid("previous_response_id", given, "must be the id of a response")
    return Wanted(background, stored, previous, _may_wait(payload, background))


def wanted_of(payload: Mapping[str, msgspec.Raw]) -> Wanted:
    """Return what a stored request asked for; one that these rules do not allow is from before them."""
    try:
        return read_wanted(payload)
    except FieldInvalid:
        return Wanted()


def _may_wait(payload: Mapping[str, msgspec.Raw], background: bool) -> bool:
    options = _value(payload, "background_options")
    if options is None:
        return False
    window = options.get("completion_window") if isinstance(options, dict) else ...
    if window is None:
        return False
    if window not in WINDOWS:
        given, allowed = begin_of(payload["background_options"]), f"completion_window must be of {', '.join(WINDOWS)}"
        raise FieldInvalid("background_options", given, allowed)
    if window != "soonest" and not background:
        raise FieldInvalid("background_options", str(window), "a completion_window of hours needs background: true")
    return bool(window != "soonest")


def _boolean(payload: Mapping[str, msgspec.Raw], name: str, otherwise: bool) -> bool:
    given = begin_of(payload.get(name, _NULL))
    if given == "null":
        return otherwise
    if given not in _BOOLEANS:
        raise FieldInvalid(name, given, "must be true or false")
    return _BOOLEANS[given]


def _value(payload: Mapping[str, msgspec.Raw], name: str) -> Any:
    """Return a decoded field, None if there is none, and Ellipsis for what no field may be."""
    raw = payload.get(name, _NULL)
    if size_of(raw) <= MOST_OWN_BYTES:
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(raw)
    return ...
