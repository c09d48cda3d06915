"""The intake: the JSON of submissions and calls, checked and made into drafts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.errors import FieldInvalid, ModelRequired
from foreman.domain.fingerprint import fingerprints
from foreman.domain.job import Draft, Instant, Priority, State, load_key
from foreman.domain.json_objects import read_object
from foreman.domain.json_weight import has_more_values
from foreman.domain.times import read_time, rfc3339

MAX_ATTEMPTS = 20
MAX_TIMEOUT = 30 * 86400  # seconds
MODEL_LENGTH = 256
MOST_OWN_BYTES = 2**18  # per field of Foreman's own; fully escaped metadata may have 209 KB
MOST_OPTIONS_BYTES = 2**20
MOST_OPTION_VALUES = 10_000
MOST_SHOWN = 400  # bytes of an invalid value passed to an error, which shows fewer still
_FAR_FUTURE = 100 * 366 * 86400  # seconds
_NULL = msgspec.Raw(b"null")
_BOOLEANS = {b"true": True, b"false": False, b"null": None}


class Submission(msgspec.Struct, frozen=True):
    """A parsed body: Foreman's own fields, and the payload for the target."""

    model: str
    own: dict[str, Any]
    payload: dict[str, msgspec.Raw]  # in the caller's order, each value as written

    @property
    def size(self) -> int:
        """Return the approximate size of the payload in bytes."""
        return sum(map(_size, self.payload.values()))

    def draft(
        self,
        job_id: str,
        *,
        canonical: str,
        max_attempts: int,
        idempotency_key: str | None = None,
        **given: Any,
    ) -> Draft:
        """Return the draft of the job.

        `canonical` is the target's own name for the model, `max_attempts` the default; `given` are draft fields set by
        the route.
        """
        payload, options = msgspec.json.encode(self.payload), _options(self.payload)
        own: dict[str, Any] = {"endpoint": "/api/chat", "max_attempts": max_attempts} | self.own | given
        return Draft(
            id=job_id,
            model=self.model,
            key=load_key(canonical, options),
            payload=payload,
            most_tokens=_most_tokens(self.payload, options),
            idempotency_key=idempotency_key,
            fingerprints=fingerprints(payload, self.own, max_attempts=max_attempts) if idempotency_key else (),
            **own,
        )


def read_submission(body: bytes, *, now: Instant) -> Submission:
    """Parse a body of `POST /jobs`. Raise InvalidJson, ModelRequired or FieldInvalid."""
    payload = read_object(body)
    model = read_model(payload)
    read_stream(payload)
    own: dict[str, Any] = {}
    for name in [name for name in payload if name in _OWN]:
        value = _read(name, payload.pop(name), _OWN[name])
        if value is not None:
            own[_RENAMED.get(name, name)] = value
    if own.get("not_before", 0) > now + _FAR_FUTURE:
        raise FieldInvalid("not_before", rfc3339(own["not_before"]), "must be a time within the next 100 years")
    if "start_by" in own and own["start_by"] <= own.get("not_before", 0):
        raise FieldInvalid("start_by", rfc3339(own["start_by"]), "must be later than not_before")
    return Submission(model, own, payload)


def read_model(payload: Mapping[str, msgspec.Raw]) -> str:
    """Return the payload's model. Raise ModelRequired or FieldInvalid."""
    if "model" not in payload:
        raise ModelRequired
    model = _read("model", payload["model"], _model)
    if not model:
        raise ModelRequired
    return str(model)


def read_stream(payload: Mapping[str, msgspec.Raw]) -> bool | None:
    """Return the payload's `stream`, or None if it is not set. Raise FieldInvalid for other types."""
    given = bytes(payload["stream"]) if "stream" in payload else b"null"
    if given not in _BOOLEANS:
        kind = {b'"': "string", b"{": "object", b"[": "array"}.get(given[:1], "number")
        in_go = f"json: cannot unmarshal {kind} into field stream of type bool"
        raise FieldInvalid("stream", given.decode(), "must be true or false", in_go=in_go)
    return _BOOLEANS[given]


def read_include_usage(payload: Mapping[str, msgspec.Raw]) -> bool:
    """Return True if the caller of a completion set include_usage. Raise FieldInvalid for malformed stream_options."""
    given = payload.get("stream_options", _NULL)
    try:
        if _size(given) > MOST_OWN_BYTES:
            raise KeyError
        options = msgspec.json.decode(given, type=dict[str, msgspec.Raw] | None) or {}
        return _BOOLEANS[bytes(options.get("include_usage", b"null"))] is True
    except (msgspec.DecodeError, RecursionError, KeyError):
        allowed = 'must be an object such as {"include_usage": true}'
        raise FieldInvalid("stream_options", _begin(given), allowed) from None


def read_call(body: bytes, *, rest_ignored: bool = False) -> Submission:
    """Parse a body of one of the target's own routes, which has no fields of Foreman's own.

    With `rest_ignored`, trailing data after the JSON is ignored. Raise InvalidJson, ModelRequired or FieldInvalid.
    """
    payload = read_object(body, rest_ignored=rest_ignored)
    return Submission(read_model(payload), {}, payload)


def read_idempotency_key(given: str | None) -> str | None:
    """Return a checked Idempotency-Key header. Raise FieldInvalid."""
    if given is None or re.fullmatch(r"[!-~]{1,255}", given):
        return given
    raise FieldInvalid("Idempotency-Key", given, "must be 1 to 255 visible ASCII characters")


def _options(payload: Mapping[str, msgspec.Raw]) -> dict[str, object] | None:
    """Return the payload's options, or None if they are no object. Raise FieldInvalid if they are too large."""
    raw = payload.get("options", _NULL)
    if _size(raw) > MOST_OPTIONS_BYTES or has_more_values(bytes(raw), MOST_OPTION_VALUES):
        allowed = f"must be at most {MOST_OPTIONS_BYTES} bytes and {MOST_OPTION_VALUES} values"
        raise FieldInvalid("options", _begin(raw), allowed)
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None  # the target rejects it in its own way
    return found if isinstance(found, dict) else None


def _most_tokens(payload: Mapping[str, msgspec.Raw], options: Mapping[str, object] | None) -> int | None:
    """Return the payload's limit of tokens for the answer, or None."""
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if name in payload and (written := bytes(payload[name])).isdigit() and len(written) < 10:
            return int(written)
    given = (options or {}).get("num_predict")
    return int(given) if isinstance(given, (int, float)) and 0 <= given < 10**9 else None


def _size(raw: msgspec.Raw) -> int:
    """Return the size of a value in bytes without copying it."""
    return len(memoryview(raw))


def _begin(raw: msgspec.Raw) -> str:
    """Return the beginning of an invalid value."""
    return bytes(memoryview(raw)[:MOST_SHOWN]).decode(errors="replace")


# One reader per field: takes the decoded value, raises ValueError with the allowed values.


def _read(name: str, raw: msgspec.Raw, reader: Callable[[Any], Any]) -> Any:
    value: Any = ...  # a value that every reader rejects
    if _size(raw) <= MOST_OWN_BYTES:
        with suppress(msgspec.DecodeError, RecursionError):  # such as a number out of range
            value = msgspec.json.decode(raw)
    if value is None and name != "model":
        return None
    try:
        return reader(value)
    except ValueError as allowed:
        given = value if isinstance(value, str) else _begin(raw)
        raise FieldInvalid(name, given, str(allowed)) from None


def _text(length: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > length or "\0" in value:
            raise ValueError(f"must be text of at most {length} characters without NUL")
        return value

    return read


def _choice(names: Sequence[str], make: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return make(value)

    return read


def _number(kind: type, low: float, high: float, allowed: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())  # 3.0 is a whole number
        if isinstance(value, bool) or not (whole if kind is int else isinstance(value, (int, float))):
            raise ValueError(allowed)
        if not low <= value <= high:
            raise ValueError(allowed)
        return kind(value)

    return read


def _metadata(value: Any) -> dict[str, str]:
    good = isinstance(value, dict) and len(value) <= 16 and all(len(key) <= 64 and "\0" not in key for key in value)
    if not good or not all(isinstance(v, str) and len(v) <= 1024 and "\0" not in v for v in value.values()):
        raise ValueError("must be an object of at most 16 strings of at most 1024 characters, its keys of at most 64")
    return dict(value)


def _states(value: Any) -> tuple[State, ...]:
    names = [state.value for state in State]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v in names for v in value):
        raise ValueError(f"must be a list of states out of {', '.join(names)}")
    return tuple(State(name) for name in dict.fromkeys(value))


_model = _text(MODEL_LENGTH)
_OWN: dict[str, Callable[[Any], Any]] = {
    "state_webhook_url": _text(2048),
    "webhook_events": _states,
    "endpoint": _choice(ENDPOINTS, str),
    "priority": _choice([p.word for p in Priority], lambda word: Priority[word.upper()]),
    "not_before": read_time,
    "start_by": read_time,
    "timeout": _number(float, 0.001, MAX_TIMEOUT, f"must be a number of seconds above 0 and up to {MAX_TIMEOUT}"),
    "max_attempts": _number(int, 1, MAX_ATTEMPTS, f"must be a whole number from 1 to {MAX_ATTEMPTS}"),
    "metadata": _metadata,
    "custom_id": _text(64),
}
_RENAMED = {"state_webhook_url": "webhook_url"}
