"""All expected errors, each with a stable code and its cost for the job it ends."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from enum import Enum


class Cost(Enum):
    """The cost of an error for the attempt it ends."""

    NOTHING = "nothing"  # the target never had the request: queued again, attempt not spent
    ATTEMPT = "attempt"  # attempt spent; queued again until `max_attempts`
    JOB = "job"  # another attempt cannot help: the job fails


FINDS_JOBS = "an id has 26 capitals and digits; GET /jobs?id= finds it by a part, GET /jobs?custom_id= by yours"


class ForemanError(Exception):
    """An expected error; its text is one sentence that is safe to show to any caller."""

    code: str = "internal_error"  # public: add codes, never rename one
    cost: Cost = Cost.JOB
    hint: str | None = None  # the remedy, if there is one


# Errors of callers


class Internal(ForemanError):
    """A bug, as callers see it: without details."""

    code = "internal_error"

    def __init__(self, message: str = "internal error") -> None:
        super().__init__(message)


class Misrouted(ForemanError):
    """No route matches the request, or the server rejected it before routing."""

    code = "misrouted"  # instances use the name of their status instead: not_found, method_not_allowed, …

    def __init__(self, status: int, name: str) -> None:
        super().__init__(name)
        self.status = status
        self.code = name.replace(" ", "_")


class BodyUnreadable(ForemanError):
    """The request body could not be received whole."""

    code = "body_unreadable"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("failed to read request body")
        self.hint = why


class InvalidJson(ForemanError):
    """The request body is not a JSON object."""

    code = "invalid_json"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("invalid JSON body")
        self.hint = why


class ModelRequired(ForemanError):
    """The request names no model."""

    code = "model_required"

    def __init__(self) -> None:
        super().__init__("model is required")


class FieldInvalid(ForemanError):
    """A field has a value that is not allowed."""

    code = "field_invalid"

    def __init__(self, field: str, given: object, allowed: str, *, in_go: str | None = None) -> None:
        """Build the text; `in_go` is an Ollama server's own text for the same error, where known."""
        shown = given if isinstance(given, str) else _json(given)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(f"{field}: {allowed}; given: {shown}")
        self.field = field
        self.in_go = in_go


class HeaderUnknown(ForemanError):
    """A request header has Foreman's prefix, but is not one of its headers."""

    code = "header_unknown"

    def __init__(self, given: str, meant: Sequence[str]) -> None:
        """Build the text; `given` is in lower case, as HTTP servers pass header names."""
        shown = given if len(given) <= 80 else given[:77] + "..."
        nearest = f"did you mean {meant[0]}?" if len(meant) == 1 else f"there are {' and '.join(meant)}"
        super().__init__(f"{shown} is no request header of Foreman's: {nearest}")


class RangeInvalid(FieldInvalid):
    """The requested range lies outside the artifact."""

    code = "requested_range_not_satisfiable"

    def __init__(self, given: str, size: int) -> None:
        super().__init__("Range", given, f"must be a range such as bytes=0-99 within the {size} bytes there are")
        self.size = size


class BodyTooLarge(ForemanError):
    """The request body exceeds the setting max_body."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.hint = "the setting max_body raises the limit"


class WrongContentType(ForemanError):
    """The request body has an unsupported Content-Type."""

    code = "wrong_content_type"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Content-Type must be {allowed}; given: {given or 'none'}")


class WrongContentEncoding(ForemanError):
    """The body has an unsupported Content-Encoding, or several."""

    code = "wrong_content_encoding"

    def __init__(self, given: str, allowed: Sequence[str]) -> None:
        shown = given if len(given) <= 80 else given[:77] + "..."
        super().__init__(f"Content-Encoding must be {' or '.join([*allowed, 'identity'])}; given: {shown}")
        self.allowed = ", ".join([*allowed, "identity"])


class NotAcceptable(ForemanError):
    """The Accept header excludes every format of the answer."""

    code = "not_acceptable"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Accept must allow {allowed}; given: {given or 'none'}")


class ModelNotFound(ForemanError):
    """The target's inventory does not have the model, even after a refresh."""

    code = "model_not_found"

    def __init__(self, model: str, known: list[str] | None = None) -> None:
        super().__init__("model not found")
        self.model = model
        if known:
            self.hint = f"the target has: {', '.join(known[:10])}"


class JobNotFound(ForemanError):
    """The job does not exist, or the caller may not see it."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__("job not found")
        whole = re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", job_id)  # anything else is not repeated: it may be a path
        self.hint = f"no job has the id {job_id}" if whole else FINDS_JOBS


class JobUnreadable(ForemanError):
    """A stored job is corrupt: another program has changed its rows."""

    code = "job_unreadable"
    hint = "remove it with DELETE /jobs/ID or foreman rm, or restore a backup; foreman check lists all such jobs"

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read: {why}")
        self.job_id = job_id


class ArtifactNotFound(ForemanError):
    """The job has no artifact of this name."""

    code = "artifact_not_found"

    def __init__(self) -> None:
        super().__init__("artifact not found")


class Unauthorized(ForemanError):
    """The request has no valid token or ticket."""

    code = "unauthorized"

    def __init__(self, *, given: bool, ticket: bool = False) -> None:
        text = "the token is not known here" if given else "a token is needed"
        super().__init__("the ticket is not known here, or no longer" if ticket else text)
        self.hint = "send Authorization: Bearer TOKEN, or x-api-key: TOKEN, with one of the tokens of the setting token"


class HostNotAllowed(ForemanError):
    """The Host header is not a name of this server: a web page may be rebinding DNS."""

    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(f"host {host[:100]!r} is not served here")
        self.hint = "add it to the setting allowed_hosts"


class OriginNotAllowed(ForemanError):
    """A web page of another site sent the request through a user's browser."""

    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"web pages of {origin[:100]!r} may not use this server")
        self.hint = "add it to the setting cors_origins"


class IllegalTransition(ForemanError):
    """The job's state does not allow the action."""

    code = "illegal_step"

    def __init__(self, action: str, state: str) -> None:
        super().__init__(f"cannot {action} a job that is {state}")


class AdminRequired(ForemanError):
    """The route needs an admin token."""

    code = "admin_required"

    def __init__(self) -> None:
        super().__init__("this needs the admin token")
        self.hint = "send Authorization: Bearer TOKEN with one of the tokens of the setting admin_token"


class NotOnThisTarget(ForemanError):
    """The route manages models of Ollama, and the target is another kind of server."""

    code = "not_on_this_target"

    def __init__(self, path: str, target: str) -> None:
        super().__init__(f"{path} manages models of an Ollama server; the target here is {target}")


class JobEnded(ForemanError):
    """The job of a waiting call was cancelled, expired or failed."""

    code = "job_ended"

    def __init__(self, state: str, error: str | None) -> None:
        super().__init__(error or f"the job was {state}")
        self.state = state


class StreamBroken(ForemanError):
    """An attempt failed in the middle of a stream; the next one would repeat the part already sent."""

    code = "stream_broken"

    def __init__(self, attempt: int, why: ForemanError | None = None) -> None:
        cause = f" ({why})" if why else ""
        super().__init__(f"the answer broke off after it had begun{cause}, and attempt {attempt} would start it over")


class CursorGone(ForemanError):
    """The events after a cursor were pruned; the client has to list the jobs again."""

    code = "cursor_gone"

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"after: the changes since {after} are no longer kept, the oldest is {oldest}")


class QueryInvalid(FieldInvalid):
    """A query parameter of the feed is invalid."""

    code = "query_invalid"


class DeliveryNotFound(ForemanError):
    """The job has no delivery of this id."""

    code = "delivery_not_found"

    def __init__(self) -> None:
        super().__init__("delivery not found")


class WebhookRefused(FieldInvalid):
    """The webhook's URL leads to a forbidden address."""

    code = "webhook_refused"

    def __init__(self, url: str, why: str) -> None:
        shown = re.sub(r"(?<=//)[^/?#]*@", "***@", url.partition("?")[0])  # the query or password may be a secret
        super().__init__("state_webhook_url", shown + "?***" * ("?" in url), why)


class IdempotencyMismatch(ForemanError):
    """The Idempotency-Key belongs to a job with another body."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key was already used with another body")


class Unavailable(ForemanError):
    """A temporary refusal; the same call may succeed later."""

    retry_after: float = 5  # seconds


class QueueFull(Unavailable):
    """The queue has no room for another job or load key."""

    code = "queue_full"

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class Draining(Unavailable):
    """Foreman is shutting down."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


class RateLimited(Unavailable):
    """The caller exceeds the setting `rate`."""

    code = "rate_limited"

    def __init__(self, a_minute: int, wait: float) -> None:
        """Build the text; `wait` is the time in seconds until the next call is allowed."""
        super().__init__(f"a caller may send {a_minute} jobs and calls a minute, and this one has")
        self.hint = f"send the next one in {math.ceil(wait)} s; the settings rate and rate_burst allow more"
        self.retry_after = wait


class TooManyConnections(Unavailable):
    """All client connections are in use."""

    code = "too_many_connections"

    def __init__(self, most: int) -> None:
        super().__init__(f"all {most} connections are taken")


class StoreUnavailable(Unavailable):
    """The store cannot be written now."""


class MemoryFull(Unavailable):
    """The bodies and answers in flight have used up the setting `memory`."""

    code = "memory_full"

    def __init__(self, size: int, limit: int) -> None:
        """Build the text; `size` is the need in bytes of this one, `limit` the bytes for all."""
        alone = size > limit
        super().__init__(
            f"this takes {size} bytes or more, and all that is under way may take {limit} together"
            if alone
            else f"what is under way takes almost all of the {limit} bytes that it may"
        )
        self.cost = Cost.JOB if alone else Cost.NOTHING  # a retry of one that never fits is useless
        self.hint = "the setting memory raises the limit"


class GaveWay(MemoryFull):
    """The memory held for a slow client was given to others."""

    code = "too_slow"

    def __init__(self, limit: int) -> None:
        super().__init__(0, limit)
        self.args = (f"it was taken so slowly that its memory went to others: all may take {limit} bytes together",)
        self.hint = "answers of jobs are kept and can be read again"


class StoreFull(StoreUnavailable):
    """The disk is full; nothing of the message was stored."""

    code = "store_full"
    retry_after = 30

    def __init__(self) -> None:
        super().__init__("no space left to store this")


class StoreBusy(StoreUnavailable):
    """Another program keeps the database locked; nothing of the message was stored."""

    code = "store_busy"
    retry_after = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"the database cannot be used now: {why}")


class StoreLost(StoreUnavailable):
    """The database broke and Foreman stops. Its restart shows if the message was stored."""

    code = "store_lost"

    def __init__(self) -> None:
        super().__init__("the database is lost, and foreman stops: whether this was stored shows after its restart")


class TargetDown(Unavailable):
    """The target is down, and its last inventory does not have the model."""

    code = "target_down"

    def __init__(self, model: str, error: Exception) -> None:
        super().__init__(f"cannot ask the target for model {model!r}: {error}")


# Errors that keep Foreman from starting or from going on


class SettingInvalid(ForemanError):
    """A setting has an invalid value."""

    code = "setting_invalid"

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(f"setting {name}: {allowed}; given: {repr(given) if isinstance(given, str) else _json(given)}")


class StoreRefused(ForemanError):
    """The database cannot be opened: it is in use, made by a newer program, or not a database."""

    code = "store_refused"


class StoreRejected(ForemanError):
    """The store cannot hold a value that the checks let pass; nothing of its message was stored."""

    code = "store_rejected"

    def __init__(self, why: Exception) -> None:
        super().__init__(f"the store rejected a value ({type(why).__name__}: {why})")


class StoreBroken(ForemanError):
    """A commit failed and left the state on disk unknown; only a restart can tell."""

    code = "store_broken"


# Errors of targets. `cost` decides about the retry (see retry.py).


class TargetError(ForemanError):
    """The target did not give an answer."""

    code = "target_fault"
    cost = Cost.ATTEMPT
    began = False  # True when the answer had begun
    retry_after: float | None = None  # seconds, if the target gave a time
    status: int = 0  # HTTP status of the target's answer, if the error is one
    body: bytes = b""  # the body that came with that status; it may be cut off


class TargetUnavailable(TargetError):
    """The connection to the target failed; the request was never sent."""

    code = "target_unavailable"
    cost = Cost.NOTHING

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"cannot reach {target}: {why}")


class Shortage(TargetError):
    """This process or machine lacks a resource for the request; temporary."""

    code = "shortage"
    cost = Cost.NOTHING
    retry_after = 2.0  # seconds

    def __init__(self, what: str) -> None:
        super().__init__(f"foreman is short of what it needs: {what}")


class TargetBusy(TargetError):
    """The target answered 429 or 503 and did not start on the request."""

    code = "target_busy"
    cost = Cost.NOTHING

    def __init__(self, target: str, retry_after: float | None = None) -> None:
        super().__init__(f"{target} is busy")
        self.retry_after = retry_after


class NotLoaded(TargetBusy):
    """The model is not loaded, and loading it would unload one that jobs need."""

    retry_after = 5.0  # seconds

    def __init__(self, model: str) -> None:
        TargetError.__init__(self, f"{model} is not loaded, and jobs need the place that it would take")


class TargetLost(TargetError):
    """The connection broke after the request was sent."""

    code = "target_lost"

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"{target} broke off: {why}")


class TargetSilent(TargetError):
    """The target took the request and then said nothing; another attempt may help."""

    code = "target_silent"

    def __init__(self, target: str, waited: float) -> None:
        super().__init__(f"{target} said nothing for {waited:g} s")


class LoadTimeout(TargetError):
    """The target did not load the model in time."""

    code = "load_timeout"

    def __init__(self, target: str, model: str, waited: float) -> None:
        super().__init__(f"{target} did not load {model} within {waited:g} s")
        self.hint = "the setting load_timeout gives it longer"


class AttemptTimeout(TargetError):
    """The attempt exceeded its time limit."""

    code = "attempt_timeout"

    def __init__(self, seconds: float, *, silent: bool = False) -> None:
        """Build the text; `silent` means that the target had the request and sent no byte."""
        super().__init__(f"the attempt took longer than {seconds:g} s")
        self.seconds = seconds
        self.silent = silent


class TargetFailed(TargetError):
    """The target answered with a temporary status (408, 425, most of 5xx), or sent an error in its stream."""

    code = "target_failed"

    def __init__(self, target: str, message: str) -> None:
        super().__init__(f"{target} failed: {message}")


class TargetGarbled(TargetError):
    """The target's answer violates its protocol."""

    code = "target_garbled"

    def __init__(self, target: str, what: str) -> None:
        super().__init__(f"{target} sent something unreadable: {what}")


class ModelCrashed(TargetError):
    """A managed child exited or never became ready; the text has its last log lines."""

    code = "model_crashed"

    def __init__(self, model: str, what: str, last_lines: list[str]) -> None:
        log_end = f"; it last said: {' | '.join(last_lines)}" if last_lines else ""
        super().__init__(f"the server of {model} {what}{log_end}")


class TargetRefused(TargetError):
    """The target refuses the request for good: 4xx, 501, or the same 5xx twice at once. The text is its own message."""

    code = "target_refused"
    cost = Cost.JOB

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AnswerCut(TargetError):
    """The answer's body ended properly but without its end marker; the job is done with the part received."""

    code = "answer_cut"

    def __init__(self) -> None:
        super().__init__("the answer ended without its last mark")


class AnswerTooLarge(TargetError):
    """The answer exceeds the setting max_answer."""

    code = "answer_too_large"
    cost = Cost.JOB

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")
        self.hint = "the setting max_answer raises the limit"


class NotServed(TargetError):
    """The target does not serve the job's endpoint."""

    code = "not_served"
    cost = Cost.JOB

    def __init__(self, target: str, endpoint: str) -> None:
        super().__init__(f"{target} does not serve {endpoint}")


class Interrupted(TargetError):
    """Foreman stopped while the job ran."""

    code = "interrupted"

    def __init__(self) -> None:
        super().__init__("foreman stopped while this job was running")


class Drained(TargetError):
    """Foreman is shutting down, and the job did not end within the grace period."""

    code = "drained"
    cost = Cost.NOTHING

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
