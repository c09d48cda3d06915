"""What callers send, read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain import intake
from foreman.domain.errors import FieldInvalid, ModelNotFound, PreviousResponseNotFound, WebhookRefused
from foreman.domain.fields import OWN
from foreman.domain.intake import Intake, Limits
from foreman.domain.job import Draft, Priority, State
from foreman.domain.json_objects import FIELDS, named
from foreman.domain.responses.conversation import Turn
from foreman.offload import offload

NOW = 1_800_000_000.0


def read(**fields: Any) -> intake.Submission:
    return intake.read_submission(json.dumps({"model": "m", **fields}).encode(), now=NOW)


def drafted(body: bytes, **given: Any) -> Draft:
    return intake.make_draft(intake.read_submission(body, now=NOW), "1", canonical="m", max_attempts=3, **given)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert repr(read(max_attempts=3.0).own["max_attempts"]) == "3"


def test_a_doubled_key_counts_once_and_the_last_one_wins() -> None:
    draft = drafted(b'{"model": "allowed", "model": "m", "priority": "low", "priority": "high"}')
    assert (draft.model, draft.priority) == ("m", Priority.HIGH)
    assert draft.payload == b'{"model":"m"}'


def test_our_fields_are_taken_out_and_the_rest_goes_on_as_it_came() -> None:
    draft = drafted(
        '{"zz": 1.50, "model":"m", "messages" : [{"content":"Grüße 🦙 \\u00e9","role":"user"}], "priority": "low",'
        '"big": 123456789012345678901234567890, "small": 1e-7, "neg": -0.0, "aa": {"b": 1, "a": [true, null]},'
        '"metadata": {"k": "v"}, "custom_id": "c",'
        '"timeout": 5, "max_attempts": 4, "endpoint": "/api/generate"}'.encode()
    )
    assert draft.payload.decode() == (
        '{"zz":1.50,"model":"m","messages":[{"content":"Grüße 🦙 \\u00e9","role":"user"}],'
        '"big":123456789012345678901234567890,"small":1e-7,"neg":-0.0,"aa":{"b": 1, "a": [true, null]}}'
    )
    assert (draft.metadata, draft.custom_id, draft.timeout, draft.max_attempts) == ({"k": "v"}, "c", 5.0, 4)
    assert (draft.endpoint, draft.priority) == ("/api/generate", Priority.LOW)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# What servers read is checked, and renamed when it is written in another letter case.
names = st.text().filter(lambda name: name not in OWN and not named({name: 0}, FIELDS).keys() & FIELDS)


@given(st.dictionaries(names, values, max_size=5))
def test_any_payload_arrives_unharmed(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", **fields}, ensure_ascii=True).encode()
    try:
        body.decode().encode()
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    arrived = json.loads(drafted(body).payload)
    assert arrived == {"model": "m", **fields}
    assert list(arrived) == ["model", *fields]


def test_null_means_the_default() -> None:
    draft = drafted(b'{"model": "m", "priority": null, "timeout": null, "metadata": null, "webhook_events": null}')
    assert (draft.priority, draft.timeout, draft.metadata, draft.webhook_events) == (Priority.NORMAL, None, None, None)


def test_states_for_webhooks_are_read_once_each() -> None:
    assert read(webhook_events=["done", "failed", "done"]).own["webhook_events"] == (State.DONE, State.FAILED)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2030-01-31T18:00:00Z", datetime(2030, 1, 31, 18, tzinfo=UTC)),
        ("2030-01-31t18:00:00z", datetime(2030, 1, 31, 18, tzinfo=UTC)),
        ("2030-01-31T18:00:00.250+02:00", datetime(2030, 1, 31, 16, 0, 0, 250_000, tzinfo=UTC)),
        ("2030-01-31T18:00:00-09:30", datetime(2030, 2, 1, 3, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_rfc_3339(text: str, at: datetime) -> None:
    assert read(not_before=text).own["not_before"] == at.timestamp()


@pytest.mark.parametrize(
    ("event", "same"),
    [
        (lambda body: body, True),
        (lambda body: {**body, "priority": "high"}, False),
        (lambda body: {**body, "messages": []}, False),
        (lambda body: {**body, "custom_id": "other"}, False),
    ],
)
def test_the_fingerprint_of_a_body_tells_bodies_apart(event: Callable[[dict[str, Any]], Any], same: bool) -> None:
    body = {"model": "m", "messages": [1], "custom_id": "c"}
    first = drafted(json.dumps(body).encode(), idempotency_key="k")
    second = drafted(json.dumps(event(body)).encode(), idempotency_key="k")
    assert (first.fingerprints[0] in second.fingerprints) is same


def test_load_options_become_part_of_the_key_and_broken_options_are_the_targets_business() -> None:
    assert drafted(b'{"model": "m", "options": {"num_ctx": 8, "seed": 1}}').key == 'm {"num_ctx":8}'
    assert drafted(b'{"model": "m", "options": 5}').key == "m"


class Known:
    """A target's model `m`, and a receiver `good`."""

    name = "m:latest"

    async def resolve(self, name: str) -> Known:
        if name != "m":
            raise ModelNotFound(name)
        return self

    async def check(self, url: str, judged: dict[str, str | None] | None = None) -> None:
        if url != "http://good":
            raise WebhookRefused(url, "why")

    async def turn(self, response_id: str, owner: str, *, most: int, took: Callable[[int], None]) -> Turn:
        if response_id != "resp_1":
            raise PreviousResponseNotFound(response_id)
        took(20)
        return Turn(b'{"input":"first"}', b'{"output":[{"type":"message"}]}')


async def taken(key: str | None = None, **fields: Any) -> Draft:
    known = Known()
    return await Intake(known, known, known, Limits(max_attempts=7), offload=offload).draft(
        read(**fields), "1", owner="o", idempotency_key=key
    )


async def test_a_draft_has_the_servers_name_for_its_model_its_caller_and_the_default_attempts() -> None:
    draft = await taken(state_webhook_url="http://good")
    assert (draft.id, draft.model, draft.key, draft.owner, draft.max_attempts) == ("1", "m", "m:latest", "o", 7)
    assert (draft.fingerprints, draft.refusal) == ((), None)
    assert (await taken(max_attempts=2)).max_attempts == 2


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [({"model": "other"}, ModelNotFound), ({"state_webhook_url": "http://evil"}, WebhookRefused)],
)
async def test_a_refusal_is_raised_but_left_to_the_queue_where_the_key_may_have_its_job(
    fields: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await taken(**fields)
    draft = await taken("k", **fields)
    assert isinstance(draft.refusal, refusal)
    assert draft.fingerprints == make_fingerprints(**fields)


def make_fingerprints(**fields: Any) -> tuple[bytes, ...]:
    submission = read(**fields)
    return intake.make_draft(submission, "1", canonical="m", max_attempts=7, idempotency_key="k").fingerprints


async def test_a_submission_is_refused_whatever_its_key_when_its_options_are_too_many() -> None:
    with pytest.raises(FieldInvalid):
        await taken("k", options={"stop": ["x"] * 10_001})


async def test_a_request_gets_the_turns_before_it_and_its_key_stands_for_what_was_sent() -> None:
    async def asked(previous: str) -> Draft:
        return await taken("key", endpoint="/v1/responses", input="second", previous_response_id=previous)

    draft, missing = await asked("resp_1"), await asked("resp_2")
    first, answer, second = json.loads(draft.payload)["input"]
    assert (first["content"], answer, second["content"]) == ("first", {"type": "message"}, "second")
    assert isinstance(missing.refusal, PreviousResponseNotFound) and draft.refusal is None
    sent = read(endpoint="/v1/responses", input="second", previous_response_id="resp_1")
    alone = intake.make_draft(sent, "1", canonical="m", max_attempts=7, idempotency_key="key")
    assert draft.fingerprints == alone.fingerprints
