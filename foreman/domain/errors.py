"""Every fault Foreman speaks of, each with a stable code and what it costs the job it meets."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from enum import Enum


class Cost(Enum):
    """What a fault costs the attempt it ends."""

    NOTHING = "nothing"  # the target never had the request: queued again, attempt not spent
    ATTEMPT = "attempt"  # spent; queued again until `max_attempts`
    JOB = "job"  # another attempt cannot help


FINDS_JOBS = "an id has 26 capitals and digits; GET /jobs?id= finds it by a part, GET /jobs?custom_id= by yours"


class ForemanError(Exception):
    """An expected fault; its text is one sentence that may be shown to anyone."""

    code: str = "internal_error"  # public: add codes, never rename one
    cost: Cost = Cost.JOB
    hint: str | None = None  # the remedy, where there is one


# What a caller got wrong, or asked at the wrong moment


class Internal(ForemanError):
    """What callers hear of a bug: nothing of it."""

    code = "internal_error"

    def __init__(self, words: str = "internal error") -> None:
        super().__init__(words)


class Misrouted(ForemanError):
    """No route takes such a request, or the server gave up on it before there was one."""

    code = "misrouted"  # its instances have the name of their status: not_found, method_not_allowed, …

    def __init__(self, status: int, name: str) -> None:
        super().__init__(name)
        self.status = status
        self.code = name.replace(" ", "_")


class BodyUnreadable(ForemanError):
    code = "body_unreadable"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("failed to read request body")
        self.hint = why


class InvalidJson(ForemanError):
    code = "invalid_json"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("invalid JSON body")
        self.hint = why


class ModelRequired(ForemanError):
    code = "model_required"

    def __init__(self) -> None:
        super().__init__("model is required")


class FieldInvalid(ForemanError):
    """A field has a value that is not allowed."""

    code = "field_invalid"

    def __init__(self, field: str, given: object, allowed: str, *, in_go: str | None = None) -> None:
        """`in_go` is how an Ollama server says it, where that is known."""
        shown = given if isinstance(given, str) else _json(given)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(f"{field}: {allowed}; given: {shown}")
        self.field = field
        self.in_go = in_go


class HeaderUnknown(ForemanError):
    """A request header is named like those of Foreman, which has none of that name."""

    code = "header_unknown"

    def __init__(self, given: str, meant: Sequence[str]) -> None:
        """`given` is in lower case, as HTTP hands names on."""
        shown = given if len(given) <= 80 else given[:77] + "..."
        nearest = f"did you mean {meant[0]}?" if len(meant) == 1 else f"there are {' and '.join(meant)}"
        super().__init__(f"{shown} is no request header of Foreman's: {nearest}")


class RangeInvalid(FieldInvalid):
    """No part of the artifact is what was asked for."""

    code = "requested_range_not_satisfiable"

    def __init__(self, given: str, size: int) -> None:
        super().__init__("Range", given, f"must be a range such as bytes=0-99 within the {size} bytes there are")
        self.size = size


class BodyTooLarge(ForemanError):
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.hint = "the setting max_body raises the limit"


class WrongContentType(ForemanError):
    code = "wrong_content_type"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Content-Type must be {allowed}; given: {given or 'none'}")


class WrongContentEncoding(ForemanError):
    """The body is compressed in a way that is not read here, or in several."""

    code = "wrong_content_encoding"

    def __init__(self, given: str, allowed: Sequence[str]) -> None:
        shown = given if len(given) <= 80 else given[:77] + "..."
        super().__init__(f"Content-Encoding must be {' or '.join([*allowed, 'identity'])}; given: {shown}")
        self.allowed = ", ".join([*allowed, "identity"])


class NotAcceptable(ForemanError):
    code = "not_acceptable"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Accept must allow {allowed}; given: {given or 'none'}")


class ModelNotFound(ForemanError):
    """The target's inventory does not have the model, not even after asking it again."""

    code = "model_not_found"

    def __init__(self, model: str, known: list[str] | None = None) -> None:
        super().__init__("model not found")
        self.model = model
        if known:
            self.hint = f"the target has: {', '.join(known[:10])}"


class JobNotFound(ForemanError):
    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__("job not found")
        whole = re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", job_id)  # anything else is not repeated: it may be a path
        self.hint = f"no job has the id {job_id}" if whole else FINDS_JOBS


class JobUnreadable(ForemanError):
    """What is stored of a job is not what this program writes: another program has changed it."""

    code = "job_unreadable"
    hint = "remove it with DELETE /jobs/ID or foreman rm, or restore a backup; foreman check lists all such jobs"

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read: {why}")
        self.job_id = job_id


class ArtifactNotFound(ForemanError):
    code = "artifact_not_found"

    def __init__(self) -> None:
        super().__init__("artifact not found")


class Unauthorized(ForemanError):
    code = "unauthorized"

    def __init__(self, *, given: bool, ticket: bool = False) -> None:
        words = "the token is not known here" if given else "a token is needed"
        super().__init__("the ticket is not known here, or no longer" if ticket else words)
        self.hint = "send Authorization: Bearer TOKEN, or x-api-key: TOKEN, with one of the tokens of the setting token"


class HostNotAllowed(ForemanError):
    """The Host header is not a name of this server: a web page may be rebinding DNS."""

    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(f"host {host[:100]!r} is not served here")
        self.hint = "add it to the setting allowed_hosts"


class OriginNotAllowed(ForemanError):
    """A web page of another site sent the request, from the browser of somebody who may."""

    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"web pages of {origin[:100]!r} may not use this server")
        self.hint = "add it to the setting cors_origins"


class IllegalTransition(ForemanError):
    """The job's state does not allow what was asked."""

    code = "illegal_step"

    def __init__(self, verb: str, state: str) -> None:
        super().__init__(f"cannot {verb} a job that is {state}")


class AdminRequired(ForemanError):
    code = "admin_required"

    def __init__(self) -> None:
        super().__init__("this needs the admin token")
        self.hint = "send Authorization: Bearer TOKEN with one of the tokens of the setting admin_token"


class NotOnThisTarget(ForemanError):
    """The route belongs to Ollama, and the target is no Ollama."""

    code = "not_on_this_target"

    def __init__(self, path: str, target: str) -> None:
        super().__init__(f"{path} manages models of an Ollama server; the target here is {target}")


class JobEnded(ForemanError):
    """The job a caller waited for was cancelled, expired, or failed before its caller could be told more."""

    code = "job_ended"

    def __init__(self, state: str, error: str | None) -> None:
        super().__init__(error or f"the job was {state}")
        self.state = state


class StreamBroken(ForemanError):
    """An attempt failed in the middle of a stream; the next one would repeat what was already sent."""

    code = "stream_broken"

    def __init__(self, attempt: int, why: ForemanError | None = None) -> None:
        said = f" ({why})" if why else ""
        super().__init__(f"the answer broke off after it had begun{said}, and attempt {attempt} would start it over")


class CursorGone(ForemanError):
    """The changes after a cursor were pruned: whoever holds it has to look at the jobs anew."""

    code = "cursor_gone"

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"after: the changes since {after} are no longer kept, the oldest is {oldest}")


class QueryInvalid(FieldInvalid):
    """A part of the feed's query is not understood."""

    code = "query_invalid"


class DeliveryNotFound(ForemanError):
    code = "delivery_not_found"

    def __init__(self) -> None:
        super().__init__("delivery not found")


class WebhookRefused(FieldInvalid):
    """The webhook's URL leads where no webhook may go."""

    code = "webhook_refused"

    def __init__(self, url: str, why: str) -> None:
        shown = re.sub(r"(?<=//)[^/?#]*@", "***@", url.partition("?")[0])  # a query or a password may be a secret
        super().__init__("state_webhook_url", shown + "?***" * ("?" in url), why)


class IdempotencyMismatch(ForemanError):
    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key was already used with another body")


class Unavailable(ForemanError):
    """Foreman cannot take this now; the same call later may succeed."""

    retry_after: float = 5  # seconds


class QueueFull(Unavailable):
    code = "queue_full"

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class Draining(Unavailable):
    code = "draining"

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


class RateLimited(Unavailable):
    """The caller has sent more than the setting `rate` allows."""

    code = "rate_limited"

    def __init__(self, a_minute: int, wait: float) -> None:
        """`wait` is in seconds, until one more may be sent."""
        super().__init__(f"a caller may send {a_minute} jobs and calls a minute, and this one has")
        self.hint = f"send the next one in {math.ceil(wait)} s; the settings rate and rate_burst allow more"
        self.retry_after = wait


class TooManyConnections(Unavailable):
    code = "too_many_connections"

    def __init__(self, most: int) -> None:
        super().__init__(f"all {most} connections are taken")


class StoreUnavailable(Unavailable):
    """The store cannot be written to now."""


class MemoryFull(Unavailable):
    """All bodies and answers in flight take what they may together; no byte more of this one is taken."""

    code = "memory_full"

    def __init__(self, size: int, limit: int) -> None:
        """`size` is what this one would take, of `limit` bytes for all."""
        alone = size > limit
        super().__init__(
            f"this takes {size} bytes or more, and all that is under way may take {limit} together"
            if alone
            else f"what is under way takes almost all of the {limit} bytes that it may"
        )
        self.cost = Cost.JOB if alone else Cost.NOTHING  # what will never fit need not be tried again
        self.hint = "the setting memory raises the limit"


class GaveWay(MemoryFull):
    """What was held for a slow client was taken away, since others found no room."""

    code = "too_slow"

    def __init__(self, limit: int) -> None:
        super().__init__(0, limit)
        self.args = (f"it was taken so slowly that its memory went to others: all may take {limit} bytes together",)
        self.hint = "answers of jobs are kept and can be read again"


class StoreFull(StoreUnavailable):
    """The disk has no room; nothing of this message was stored."""

    code = "store_full"
    retry_after = 30

    def __init__(self) -> None:
        super().__init__("no space left to store this")


class StoreBusy(StoreUnavailable):
    """Another program kept the database locked; nothing of this message was stored."""

    code = "store_busy"
    retry_after = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"the database cannot be used now: {why}")


class StoreLost(StoreUnavailable):
    """The database broke, and Foreman ends. Whether this message was stored is known after its restart."""

    code = "store_lost"

    def __init__(self) -> None:
        super().__init__("the database is lost, and foreman stops: whether this was stored shows after its restart")


class TargetDown(Unavailable):
    """The target is away, and the model is not one it was known to have."""

    code = "target_down"

    def __init__(self, model: str, error: Exception) -> None:
        super().__init__(f"cannot ask the target for model {model!r}: {error}")


# What keeps Foreman from starting or going on


class SettingInvalid(ForemanError):
    code = "setting_invalid"

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(f"setting {name}: {allowed}; given: {repr(given) if isinstance(given, str) else _json(given)}")


class StoreRefused(ForemanError):
    """The database cannot be opened: in use, made by a newer program, or not a database."""

    code = "store_refused"


class StoreRejected(ForemanError):
    """A value that the store cannot hold got past the checks; nothing of its message was stored."""

    code = "store_rejected"

    def __init__(self, why: Exception) -> None:
        super().__init__(f"the store rejected a value ({type(why).__name__}: {why})")


class StoreBroken(ForemanError):
    """A commit failed in a way that leaves unknown what is on disk; only a restart knows."""

    code = "store_broken"


# What a target did. `cost` decides what follows (see retry.py).


class TargetError(ForemanError):
    """The target did not give an answer."""

    code = "target_fault"
    cost = Cost.ATTEMPT
    began = False  # whether the answer had begun
    retry_after: float | None = None  # seconds, when the target named a time
    status: int = 0  # of the target's answer, where that is the fault
    body: bytes = b""  # what came with that status; it may be cut off


class TargetUnavailable(TargetError):
    """No connection could be made; the request was never sent."""

    code = "target_unavailable"
    cost = Cost.NOTHING

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"cannot reach {target}: {why}")


class Shortage(TargetError):
    """This process or its machine is short of something, and could not ask; it passes."""

    code = "shortage"
    cost = Cost.NOTHING
    retry_after = 2.0  # seconds

    def __init__(self, what: str) -> None:
        super().__init__(f"foreman is short of what it needs: {what}")


class TargetBusy(TargetError):
    """The target answered 429 or 503: it has not begun."""

    code = "target_busy"
    cost = Cost.NOTHING

    def __init__(self, target: str, retry_after: float | None = None) -> None:
        super().__init__(f"{target} is busy")
        self.retry_after = retry_after


class NotLoaded(TargetBusy):
    """The model would have to take the place of one that jobs need."""

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
    """The target did not get the model into memory in time."""

    code = "load_timeout"

    def __init__(self, target: str, model: str, waited: float) -> None:
        super().__init__(f"{target} did not load {model} within {waited:g} s")
        self.hint = "the setting load_timeout gives it longer"


class AttemptTimeout(TargetError):
    code = "attempt_timeout"

    def __init__(self, seconds: float, *, silent: bool = False) -> None:
        """`silent`: the target had the request and had not sent a byte."""
        super().__init__(f"the attempt took longer than {seconds:g} s")
        self.seconds = seconds
        self.silent = silent


class TargetFailed(TargetError):
    """The target answered with a status that may pass (408, 425, most of 5xx), or sent an error in its stream."""

    code = "target_failed"

    def __init__(self, target: str, words: str) -> None:
        super().__init__(f"{target} failed: {words}")


class TargetGarbled(TargetError):
    """What the target sent is not what its protocol allows."""

    code = "target_garbled"

    def __init__(self, target: str, what: str) -> None:
        super().__init__(f"{target} sent something unreadable: {what}")


class ModelCrashed(TargetError):
    """A managed child ended or never became ready; the text carries its last log lines."""

    code = "model_crashed"

    def __init__(self, model: str, what: str, last_lines: list[str]) -> None:
        said = f"; it last said: {' | '.join(last_lines)}" if last_lines else ""
        super().__init__(f"the server of {model} {what}{said}")


class TargetRefused(TargetError):
    """The target will answer so every time: 4xx, 501, or the same 5xx twice at once. Its own words are the text."""

    code = "target_refused"
    cost = Cost.JOB

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class AnswerCut(TargetError):
    """The target ended the body of its answer as it should, but not the answer: the job is done with what there is."""

    code = "answer_cut"

    def __init__(self) -> None:
        super().__init__("the answer ended without its last mark")


class AnswerTooLarge(TargetError):
    code = "answer_too_large"
    cost = Cost.JOB

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")
        self.hint = "the setting max_answer raises the limit"


class NotServed(TargetError):
    """This kind of target has no such endpoint."""

    code = "not_served"
    cost = Cost.JOB

    def __init__(self, target: str, endpoint: str) -> None:
        super().__init__(f"{target} does not serve {endpoint}")


class Interrupted(TargetError):
    """Foreman itself stopped while the job ran."""

    code = "interrupted"

    def __init__(self) -> None:
        super().__init__("foreman stopped while this job was running")


class Drained(TargetError):
    """Foreman was asked to stop, and the job did not end within the grace."""

    code = "drained"
    cost = Cost.NOTHING

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
