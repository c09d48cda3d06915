"""What callers send, read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman import wire
from foreman.errors import FieldInvalid, InvalidJson, ModelRequired
from foreman.job import Draft, Priority, State

NOW = 1_800_000_000.0


def read(**fields: Any) -> wire.Submission:
    return wire.read_submission(json.dumps({"model": "m", **fields}).encode(), now=NOW)


def drafted(body: bytes, **given: Any) -> Draft:
    return wire.read_submission(body, now=NOW).draft("1", canonical="m", max_attempts=3, **given)


WRONG: list[tuple[str, object, str]] = [
    ("model", 7, "text of at most 256 characters"),
    ("model", "m" * 257, "text of at most 256 characters"),
    ("model", "a\0b", "without NUL"),
    ("state_webhook_url", 5, "text of at most 2048 characters"),
    ("webhook_events", "done", "a list of states out of queued, loading"),
    ("webhook_events", [], "a list of states"),
    ("webhook_events", ["finished"], "a list of states"),
    ("webhook_events", [["done"]], "a list of states"),
    ("endpoint", "/api/pull", "one of /api/chat, /api/generate"),
    ("endpoint", 1, "one of /api/chat"),
    ("priority", "urgent", "one of high, normal, low"),
    ("priority", 0, "one of high, normal, low"),
    ("not_before", "tomorrow", "an RFC 3339 time such as"),
    ("not_before", 1800000000, "an RFC 3339 time"),
    ("not_before", "2030-01-31T18:00:00", "an RFC 3339 time"),
    ("not_before", "9999-12-31T23:59:59-23:59", "an RFC 3339 time"),
    ("start_by", "0001-01-01T00:00:00+23:59", "an RFC 3339 time"),
    ("not_before", "9030-01-31T18:00:00Z", "within the next 100 years"),
    ("start_by", "2030-02-30T18:00:00Z", "an RFC 3339 time"),
    ("start_by", True, "an RFC 3339 time"),
    ("timeout", 0, "a number of seconds above 0"),
    ("timeout", -1, "a number of seconds above 0"),
    ("timeout", "60", "a number of seconds above 0"),
    ("timeout", True, "a number of seconds above 0"),
    ("timeout", 1e12, "a number of seconds above 0"),
    ("max_attempts", 0, "a whole number from 1 to 20"),
    ("max_attempts", 21, "a whole number from 1 to 20"),
    ("max_attempts", 2.5, "a whole number from 1 to 20"),
    ("max_attempts", True, "a whole number from 1 to 20"),
    ("max_attempts", 10**40, "a whole number from 1 to 20"),
    ("metadata", [], "an object of at most 16 strings"),
    ("metadata", {str(n): "" for n in range(17)}, "an object of at most 16 strings"),
    ("metadata", {"a": 1}, "an object of at most 16 strings"),
    ("metadata", {"a": "\0"}, "an object of at most 16 strings"),
    ("custom_id", "c" * 65, "text of at most 64 characters"),
    ("custom_id", {}, "text of at most 64 characters"),
]


@pytest.mark.parametrize(("field", "given", "allowed"), WRONG)
def test_a_wrong_field_is_named_with_what_was_given_and_what_is_allowed(
    field: str, given: object, allowed: str
) -> None:
    with pytest.raises(FieldInvalid) as fault:
        read(**{field: given})
    words = str(fault.value)
    assert fault.value.field == field
    assert words.startswith(f"{field}: must be ")
    assert allowed in words
    assert "; given: " in words
    shown = words.rpartition("; given: ")[2]
    assert shown.removesuffix("...") and len(shown) <= 80


def test_a_job_cannot_have_to_start_before_it_may() -> None:
    with pytest.raises(FieldInvalid, match=r"^start_by: must be later than not_before; given: 2030-01-01T00:00:00"):
        read(not_before="2030-01-01T00:00:00Z", start_by="2030-01-01T00:00:00Z")


@pytest.mark.parametrize("body", [b"{}", b'{"model": ""}', b'{"messages": []}'])
def test_a_model_is_required(body: bytes) -> None:
    with pytest.raises(ModelRequired, match="^model is required$"):
        drafted(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b'{"model": "m"', "truncated"),
        (b"[]", "must be a JSON object"),
        (b'"m"', "must be a JSON object"),
        (b'{"model": "m", "options": {"a": NaN}}', "malformed"),
        (b'{"model": "m", "timeout": Infinity}', "malformed"),
        (b'{"model": "m"} {}', "trailing"),
        (b'{"model": "\xff"}', "not UTF-8 at byte 11"),
        (b'{"model": "m", "x": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"model": "m", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(InvalidJson, match="^invalid JSON body$") as fault:
        drafted(body)
    assert why in str(fault.value.hint)


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "\\ud800 and more", "\\ud800\\ud800"])
@pytest.mark.parametrize("field", ["model", "custom_id", "messages"])
def test_a_lone_surrogate_is_no_text(field: str, text: str) -> None:
    with pytest.raises((InvalidJson, FieldInvalid)):
        drafted(f'{{"model": "m", "{field}": "{text}"}}'.encode())


def test_a_field_nested_too_deeply_is_refused() -> None:
    with pytest.raises((FieldInvalid, InvalidJson)):
        drafted(b'{"model": "m", "metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


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


@given(st.dictionaries(st.text().filter(lambda name: name not in (*wire._OWN, "model")), values, max_size=5))
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


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_that_is_shown_is_read_back(milliseconds: int) -> None:
    shown = wire.rfc3339(milliseconds / 1000)
    assert shown is not None and shown.endswith("Z")
    assert datetime.fromisoformat(shown).timestamp() == pytest.approx(milliseconds / 1000, abs=0.0011)


@pytest.mark.parametrize("key", ["", "a b", "ü", "k" * 256, "a\n"])
def test_an_idempotency_key_is_visible_ascii(key: str) -> None:
    with pytest.raises(FieldInvalid, match="^Idempotency-Key: must be 1 to 255 visible ASCII characters"):
        wire.read_idempotency_key(key)
    assert wire.read_idempotency_key("k" * 255) == "k" * 255


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda body: body, True),
        (lambda body: {**body, "priority": "high"}, False),
        (lambda body: {**body, "messages": []}, False),
        (lambda body: {**body, "custom_id": "other"}, False),
    ],
)
def test_the_fingerprint_of_a_body_tells_bodies_apart(change: Callable[[dict[str, Any]], Any], same: bool) -> None:
    body = {"model": "m", "messages": [1], "custom_id": "c"}
    first = drafted(json.dumps(body).encode(), idempotency_key="k")
    second = drafted(json.dumps(change(body)).encode(), idempotency_key="k")
    assert (first.fingerprint == second.fingerprint) is same


def test_load_options_become_part_of_the_key_and_broken_options_are_the_targets_business() -> None:
    assert drafted(b'{"model": "m", "options": {"num_ctx": 8, "seed": 1}}').key == 'm {"num_ctx":8}'
    assert drafted(b'{"model": "m", "options": 5}').key == "m"


def test_a_fault_is_shown_with_its_code_and_its_remedy() -> None:
    assert wire.show_fault(ModelRequired()) == {"error": "model is required", "code": "model_required"}
    assert msgspec.json.encode(wire.show_fault(InvalidJson("why"))).startswith(b'{"error":"invalid JSON body"')
    assert wire.show_fault(InvalidJson("why"))["hint"] == "why"
