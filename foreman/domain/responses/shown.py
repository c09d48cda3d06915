"""A response as OpenAI's API shows it, made of its job, its request and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from foreman.domain.job import RUNNING, Job, State
from foreman.domain.responses.ids import response_id
from foreman.domain.responses.request import wanted_of
from foreman.domain.responses.tiers import TIER, tier_of

Json = dict[str, Any]

OTHERWISE: Json = {  # the fields of a request that every response repeats, with what holds where they are not given
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
REQUIRED = ("created_at", "parallel_tool_calls", "tool_choice", "tools")  # of every response; targets leave some out
OWN = ("previous_response_id", "prompt_cache_key", "safety_identifier", "user")  # targets may not know them
GIVEN = (*OWN, TIER, "store")
ENDED = ("completed", "incomplete")  # statuses of answers
_STATUS = {State.QUEUED: "queued", State.CANCELLED: "cancelled", State.FAILED: "failed", State.EXPIRED: "failed"}
_NULL = msgspec.Raw(b"null")


def status_of(state: State) -> str:
    """Return the status of a response by the state of its job."""
    return "in_progress" if state in RUNNING else _STATUS.get(state, "completed")


def unanswered(job: Job, payload: Mapping[str, msgspec.Raw], status: str = "") -> Json:
    """Return the response of a job without an answer, as it is or with another status."""
    status = status or status_of(job.state)
    error = {"code": "server_error", "message": job.error or "the job failed"} if status == "failed" else None
    return {
        **OTHERWISE,
        "id": "",
        "object": "response",
        "created_at": 0,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": error,
        "incomplete_details": None,
        "model": job.model,
        "output": [],
        "usage": None,
        **_repeated(payload),
        **own(job, payload),
    }


def answered(job: Job, payload: Mapping[str, msgspec.Raw], answer: Mapping[str, Any]) -> Json:
    """Return a response with the answer of its target, in Foreman's name."""
    shown = unanswered(job, payload, "completed")
    given = {name: value for name, value in answer.items() if value != _NULL and value is not None}
    shown = {**shown, **given, **own(job, payload)}
    if _text(shown["status"]) not in ENDED:  # the answer was cut off
        shown["status"] = "incomplete"
    if shown["completed_at"] is None and job.completed_at is not None:
        shown["completed_at"] = int(job.completed_at)
    return shown


def named(job: Job, payload: Mapping[str, msgspec.Raw], answer: Mapping[str, Any]) -> Json:
    """Return the answer of a target under Foreman's id, with what the caller gave for Foreman.

    What OpenAI's API has in every response is added where it is missing: strict clients refuse it otherwise. The rest
    stays.
    """
    own_fields = own(job, payload)
    given = {name: own_fields[name] for name in GIVEN if payload.get(name, _NULL) != _NULL}
    if job.metadata:
        given["metadata"] = job.metadata
    missing = [name for name in REQUIRED if answer.get(name) in (None, _NULL)]
    added = {**OTHERWISE, **_repeated(payload), **own_fields}
    return {**answer, **{name: added[name] for name in missing}, **given, "id": own_fields["id"]}


def own(job: Job, payload: Mapping[str, msgspec.Raw]) -> Json:
    """Return what Foreman alone knows of a response: whatever its target says of these is replaced."""
    wanted = wanted_of(payload)
    return {
        "id": response_id(job.id),
        "created_at": int(job.created_at),
        "background": wanted.background,
        "store": wanted.stored,
        "metadata": job.metadata or {},
        TIER: tier_of(job.priority, asked=payload.get(TIER, _NULL)),
        **{name: payload.get(name, _NULL) for name in OWN},
    }


def _repeated(payload: Mapping[str, msgspec.Raw]) -> Json:
    return {name: value for name in OTHERWISE if (value := payload.get(name, _NULL)) != _NULL}


def _text(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
