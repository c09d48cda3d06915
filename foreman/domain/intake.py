"""The intake: submissions and calls, read, checked and made into drafts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import FieldInvalid, ForemanError, ModelRequired
from foreman.domain.excerpts import excerpt
from foreman.domain.fields import MODEL, MOST_OWN_BYTES, OWN, RENAMED, begin_of, read_field, size_of
from foreman.domain.fingerprint import fingerprints
from foreman.domain.job import Draft, Instant, load_key
from foreman.domain.json_objects import read_object
from foreman.domain.json_weight import has_more_values
from foreman.domain.responses.conversation import Responses, continued
from foreman.domain.responses.request import read_wanted
from foreman.domain.scheduling import prefixes
from foreman.domain.times import rfc3339

MOST_OPTIONS_BYTES = 2**20
MOST_OPTION_VALUES = 10_000
_FAR_FUTURE = 100 * 366 * 86400  # seconds
_NULL = msgspec.Raw(b"null")
_RENDERED = ("tools", "system", "instructions", "messages", "input", "prompt")  # the parts of a prompt, in order
MOST_CALLER = 128  # characters
T = TypeVar("T")

_BOOLEANS = {b"true": True, b"false": False, b"null": None}


class Submission(msgspec.Struct, frozen=True):
    """A parsed body: Foreman's own fields, and the payload for the target."""

    model: str
    own: dict[str, Any]
    payload: dict[str, msgspec.Raw]  # in the caller's order, each value as written
    size: int  # bytes of the body


class Served(Protocol):
    """A model that a target serves."""

    @property
    def name(self) -> str:
        """The target's own name for it."""


class Models(Protocol):
    """The models of the targets."""

    async def resolve(self, name: str) -> Served:
        """Return the model with this name or alias. Raise ModelNotFound or TargetDown."""


class Offload(Protocol):
    """A way to run work on large bodies."""

    async def __call__(self, size: int, function: Callable[..., T], /, *args: Any) -> T:
        """Return `function(*args)`, which reads `size` bytes."""


class Receivers(Protocol):
    """The receivers of webhooks."""

    async def check(self, url: str, judged: dict[str, str | None] | None = None) -> None:
        """Validate a URL. Raise WebhookRefused. `judged` caches the outcome by receiver."""


class Limits(msgspec.Struct, frozen=True):
    """What the settings say of submissions."""

    max_attempts: int = 3  # of those that set none
    max_body: int = 64 * 2**20  # bytes of a request that continues a response, with the turns before it


class Intake:
    """The one way from a request to a draft, for jobs and for compatible calls."""

    def __init__(
        self,
        models: Models,
        receivers: Receivers,
        responses: Responses,
        limits: Limits,
        *,
        offload: Offload,
    ) -> None:
        """Read submissions for these models and receivers, which may continue these responses."""
        self._models = models
        self._receivers = receivers
        self._responses = responses
        self.limits = limits
        self._offload = offload

    async def read(self, body: bytes, *, now: Instant) -> Submission:
        """Return a body of `POST /jobs` parsed. Raise as `read_submission` does."""
        return await self._offload(len(body), partial(read_submission, now=now), body)

    async def draft(
        self,
        submission: Submission,
        job_id: str,
        *,
        owner: str,
        caller: str = "",
        idempotency_key: str | None = None,
        judged: dict[str, str | None] | None = None,
        took: Callable[[int], None] = lambda size: None,
    ) -> Draft:
        """Resolve the model and the response that is continued, check the receiver of webhooks, and return the draft.

        With an idempotency key, the draft carries the refusal of one of these: only the queue knows whether the key
        has its job already. `caller` is the caller under the token of `owner`; the payload names it otherwise.
        `judged` caches refusals by receiver, for many submissions; `took` is called with the bytes that are read.

        Raises:
            ModelNotFound: No target has the model.
            TargetDown: The model is unknown, and a target is away.
            WebhookRefused: Webhooks may not go there.
            PreviousResponseError: The response that the request names cannot be continued.
            FieldInvalid: The options are too large, or a field of a response is not allowed.
            MemoryFull: `took` found no room.
        """
        asked, canonical, refusal = submission, submission.model, None
        try:
            canonical = (await self._models.resolve(submission.model)).name
            if (url := submission.own.get("webhook_url")) is not None:
                await self._receivers.check(url, judged)
            if submission.own.get("endpoint") == RESPONSES.path:
                submission = await self.continued(submission, owner, took)
        except ForemanError as error:
            if idempotency_key is None:
                raise
            refusal = error
        return await self._offload(
            submission.size,
            partial(
                make_draft,
                submission,
                job_id,
                canonical=canonical,
                max_attempts=self.limits.max_attempts,
                owner=owner,
                caller=caller,
                idempotency_key=idempotency_key,
                refusal=refusal,
                asked=asked,
            ),
        )

    async def continued(self, submission: Submission, owner: str, took: Callable[[int], None]) -> Submission:
        """Return a request for a response with the turns before it. Raise as `draft` does."""
        wanted = read_wanted(submission.payload)
        if wanted.previous is None:
            return submission
        most = max(0, self.limits.max_body - submission.size)
        before = await self._responses.turn(wanted.previous, owner, most=most, took=took)
        size = submission.size + len(before.payload) + len(before.answer)
        payload = await self._offload(size, continued, submission.payload, before)
        return Submission(submission.model, submission.own, payload, size)


def make_draft(
    submission: Submission,
    job_id: str,
    *,
    canonical: str,
    max_attempts: int,
    owner: str = "",
    caller: str = "",
    idempotency_key: str | None = None,
    refusal: ForemanError | None = None,
    asked: Submission | None = None,
) -> Draft:
    """Return the draft of a job. Raise FieldInvalid for options that are too large.

    `canonical` is the target's own name for the model, `max_attempts` the default, `asked` the submission as it came,
    which an idempotency key stands for.
    """
    given = submission.own
    payload, options = msgspec.json.encode(submission.payload), _options(submission.payload)
    written = payload if asked is None or asked is submission else msgspec.json.encode(asked.payload)
    own: dict[str, Any] = {"endpoint": "/api/chat", "max_attempts": max_attempts} | given
    return Draft(
        id=job_id,
        model=submission.model,
        key=load_key(canonical, options),
        payload=payload,
        most_tokens=_most_tokens(submission.payload, options),
        owner=owner,
        caller=caller or _caller_in(submission.payload),
        prefix=_prefix(submission.payload),
        excerpt=excerpt(submission.payload),
        idempotency_key=idempotency_key,
        fingerprints=fingerprints(written, given, max_attempts=max_attempts) if idempotency_key else (),
        refusal=refusal,
        **own,
    )


def read_submission(body: bytes, *, now: Instant) -> Submission:
    """Parse a body of `POST /jobs`. Raise InvalidJson, ModelRequired or FieldInvalid."""
    payload = read_object(body)
    model = read_model(payload)
    read_stream(payload)
    own: dict[str, Any] = {}
    for name in [name for name in payload if name in OWN]:
        value = read_field(name, payload.pop(name), OWN[name])
        if value is not None:
            own[RENAMED.get(name, name)] = value
    if own.get("not_before", 0) > now + _FAR_FUTURE:
        raise FieldInvalid("not_before", rfc3339(own["not_before"]), "must be a time within the next 100 years")
    if "start_by" in own and own["start_by"] <= own.get("not_before", 0):
        raise FieldInvalid("start_by", rfc3339(own["start_by"]), "must be later than not_before")
    return Submission(model, own, payload, len(body))


def read_model(payload: Mapping[str, msgspec.Raw]) -> str:
    """Return the payload's model. Raise ModelRequired or FieldInvalid."""
    if "model" not in payload:
        raise ModelRequired
    model = read_field("model", payload["model"], MODEL)
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
        if size_of(given) > MOST_OWN_BYTES:
            raise KeyError
        options = msgspec.json.decode(given, type=dict[str, msgspec.Raw] | None) or {}
        return _BOOLEANS[bytes(options.get("include_usage", b"null"))] is True
    except (msgspec.DecodeError, RecursionError, KeyError):
        allowed = 'must be an object such as {"include_usage": true}'
        raise FieldInvalid("stream_options", begin_of(given), allowed) from None


def read_metadata(payload: Mapping[str, msgspec.Raw]) -> dict[str, str] | None:
    """Return the payload's metadata if they could be a job's: what else they may be, the target judges."""
    try:
        found: dict[str, str] | None = read_field("metadata", payload.get("metadata", _NULL), OWN["metadata"])
    except FieldInvalid:
        return None
    return found or None


def read_call(body: bytes, *, rest_ignored: bool = False) -> Submission:
    """Parse a body of one of the target's own routes, which has no fields of Foreman's own.

    With `rest_ignored`, trailing data after the JSON is ignored. Raise InvalidJson, ModelRequired or FieldInvalid.
    """
    payload = read_object(body, rest_ignored=rest_ignored)
    return Submission(read_model(payload), {}, payload, len(body))


def read_idempotency_key(given: str | None) -> str | None:
    """Return a checked Idempotency-Key header. Raise FieldInvalid."""
    if given is None or re.fullmatch(r"[!-~]{1,255}", given):
        return given
    raise FieldInvalid("Idempotency-Key", given, "must be 1 to 255 visible ASCII characters")


def read_caller(given: str | None) -> str:
    """Return a checked X-Foreman-Caller header, empty when there is none. Raise FieldInvalid."""
    if given is None or re.fullmatch(r"[!-~]([ -~]{0,126}[!-~])?", given):
        return given or ""
    raise FieldInvalid("X-Foreman-Caller", given, f"must be 1 to {MOST_CALLER} printable ASCII characters")


def _caller_in(payload: Mapping[str, msgspec.Raw]) -> str:
    """Return the caller that the fields of the servers' own APIs name, or nothing.

    A long name is replaced with its digest. The server judges the fields; what is no text names nobody.
    """
    metadata = _small(payload.get("metadata"))
    of_anthropic = metadata.get("user_id") if isinstance(metadata, dict) else None
    for name in (_small(payload.get("safety_identifier")), _small(payload.get("user")), of_anthropic):
        if isinstance(name, str) and (name := name.strip()):
            short = len(name) <= MOST_CALLER and name.isprintable()
            return name if short else sha256(name.encode(errors="replace")).hexdigest()
    return ""


def _prefix(payload: Mapping[str, msgspec.Raw]) -> bytes:
    """Return the path of the beginning of the prompt, in the order in which servers render it."""
    group, background = _small(payload.get("prompt_cache_key")), _small(payload.get("background_options"))
    if group is None and isinstance(background, dict):
        group = background.get("continuation_id")
    return prefixes.path(
        (payload[name] for name in _RENDERED if name in payload), group if isinstance(group, str) else None
    )


def _small(raw: msgspec.Raw | None) -> object:
    """Return a decoded field, or None if it is missing, wrong or large."""
    if raw is None or size_of(raw) > MOST_OWN_BYTES:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _options(payload: Mapping[str, msgspec.Raw]) -> dict[str, object] | None:
    """Return the payload's options, or None if they are no object. Raise FieldInvalid if they are too large."""
    raw = payload.get("options", _NULL)
    if size_of(raw) > MOST_OPTIONS_BYTES or has_more_values(bytes(raw), MOST_OPTION_VALUES):
        allowed = f"must be at most {MOST_OPTIONS_BYTES} bytes and {MOST_OPTION_VALUES} values"
        raise FieldInvalid("options", begin_of(raw), allowed)
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
