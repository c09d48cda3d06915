"""/v1/webhook_endpoints: OpenAI's API of receivers, which are told of the ends of background responses and batches."""

from __future__ import annotations

from secrets import token_bytes
from typing import TypeVar

import msgspec
from quart import Blueprint, Response, request
from ulid import ULID

from foreman.actors.webhook_sender import Content
from foreman.domain import views
from foreman.domain.errors import Draining, EndpointNotFound, FieldInvalid, WebhookTestFailed
from foreman.domain.fields import begin_of
from foreman.domain.json_objects import read_object
from foreman.domain.webhooks.endpoints import (
    ENDPOINT_ID,
    EVENT_ID,
    EVENT_TYPES,
    KEY_BYTES,
    WebhookEndpoint,
    body_of,
    first_delivery,
    new_secret,
)
from foreman.http import visibility
from foreman.http.body import read_body, read_json_body
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.query import whole
from foreman.queue.endpoint_commands import AddEndpoint, ChangeEndpoint, DeleteEndpoint, RedeliverEvent, RotateSecret

webhook_endpoints = Blueprint("webhook_endpoints", __name__)

LISTED, MOST_LISTED = 20, 100
LONGEST_NAME, LONGEST_URL = 256, 2048  # characters
TEST_SUBJECT = {"response": "resp_test", "batch": "batch_test"}
_NULL = msgspec.Raw(b"null")

T = TypeVar("T")
Fields = dict[str, msgspec.Raw]


@webhook_endpoints.get("/v1/webhook_event_types")
async def event_types() -> Response:
    """List the types of events."""
    return json_answer(views.OpenAIWebhookEventTypes(data=list(EVENT_TYPES)))


@webhook_endpoints.post("/v1/webhook_endpoints")
async def create() -> Response:
    """Add an endpoint, and show its secret this once.

    Raises:
        FieldInvalid: A field is missing or wrong.
        WebhookRefused: Webhooks may not go to its URL.
        TooManyEndpoints: The caller has as many as one may have.
    """
    _check_open()
    fields = read_object(await read_json_body())
    name, url, kinds = _name(fields), await _url(fields), _event_types(fields)
    for field, value in (("name", name), ("url", url), ("event_types", kinds)):
        if value is None:
            raise FieldInvalid(field, None, "must be given")
    added = AddEndpoint(
        endpoint_id=f"whe_{ULID()}",
        owner=context().auth.caller(request).name,
        name=name or "",
        url=url or "",
        event_types=kinds or (),
        secret=new_secret(token_bytes(KEY_BYTES)),
    )
    return json_answer(views.show_endpoint(await context().queue.ask(added), secret=True))


@webhook_endpoints.get("/v1/webhook_endpoints")
async def listed() -> Response:
    """List a page of the caller's endpoints, the newest first."""
    limit, after = whole("limit", request.args.get("limit"), LISTED, MOST_LISTED), request.args.get("after")
    if after is not None and not ENDPOINT_ID.fullmatch(after):
        raise FieldInvalid("after", after, "must be the id of a webhook endpoint")
    found = await visibility.read(lambda store: store.webhook_endpoints(after=after, limit=limit + 1))
    return json_answer(views.show_endpoints(found[:limit], has_more=len(found) > limit))


@webhook_endpoints.get("/v1/webhook_endpoints/<endpoint_id>")
async def show(endpoint_id: str) -> Response:
    """Show an endpoint."""
    return json_answer(views.show_endpoint(await _find(endpoint_id)))


@webhook_endpoints.post("/v1/webhook_endpoints/<endpoint_id>")
async def update(endpoint_id: str) -> Response:
    """Change what is given of an endpoint."""
    _check_open()
    await _find(endpoint_id)
    fields = read_object(await read_json_body())
    change = ChangeEndpoint(
        endpoint_id=endpoint_id,
        name=_name(fields),
        url=await _url(fields),
        event_types=_event_types(fields),
        caller=context().auth.caller(request),
    )
    return json_answer(views.show_endpoint(await context().queue.ask(change)))


@webhook_endpoints.delete("/v1/webhook_endpoints/<endpoint_id>")
async def delete(endpoint_id: str) -> Response:
    """Delete an endpoint with what is on its way to it."""
    await _find(endpoint_id)
    await context().queue.ask(DeleteEndpoint(endpoint_id, context().auth.caller(request)))
    return json_answer(views.OpenAIWebhookEndpointDeleted(id=endpoint_id))


@webhook_endpoints.post("/v1/webhook_endpoints/<endpoint_id>/rotate_secret")
async def rotate_secret(endpoint_id: str) -> Response:
    """Give an endpoint a new secret, and show it this once."""
    _check_open()
    await _find(endpoint_id)
    body = await read_body()
    fields = read_object(body) if body.strip() else {}
    keep = _value(fields, "keep_old_secret_active_for_24_hours", bool, "must be true or false")
    rotation = RotateSecret(
        endpoint_id=endpoint_id,
        secret=new_secret(token_bytes(KEY_BYTES)),
        keep_old=bool(keep),
        caller=context().auth.caller(request),
    )
    return json_answer(views.show_endpoint(await context().queue.ask(rotation), secret=True))


@webhook_endpoints.post("/v1/webhook_endpoints/<endpoint_id>/test")
async def test(endpoint_id: str) -> Response:
    """Send an event of nothing that there is, and answer once the receiver has accepted it.

    Raises:
        WebhookTestFailed: The receiver did not.
    """
    endpoint = await _find(endpoint_id)
    caller = context().auth.caller(request)
    if endpoint.owner != caller.name:
        caller.check_admin()
    fields = read_object(await read_json_body())
    kind = _value(fields, "event_type", str, _one_of())
    if kind not in EVENT_TYPES:
        raise FieldInvalid("event_type", kind, _one_of())
    now = context().clock()
    event = first_delivery(endpoint, f"evt_{ULID()}", kind, TEST_SUBJECT[kind.partition(".")[0]], now=now)
    sent = await context().sender.post(event, Content(body_of(event), endpoint.secrets(now)))
    if sent.error is not None or sent.status is None:
        raise WebhookTestFailed(sent.error or "no answer")
    return json_answer(
        views.OpenAIWebhookEndpointTest(webhook_endpoint_id=endpoint.id, event_type=kind, status_code=sent.status)
    )


@webhook_endpoints.get("/v1/webhook_endpoints/<endpoint_id>/deliveries")
async def deliveries(endpoint_id: str) -> Response:
    """List a page of the deliveries to an endpoint, the newest first."""
    limit, after = whole("limit", request.args.get("limit"), LISTED, MOST_LISTED), request.args.get("after")
    if after is not None and not EVENT_ID.fullmatch(after):
        raise FieldInvalid("after", after, "must be the id of an event")
    await _find(endpoint_id)
    found = await visibility.read(lambda store: store.endpoint_deliveries(endpoint_id, after=after, limit=limit + 1))
    return json_answer(views.show_event_deliveries(found[:limit], has_more=len(found) > limit))


@webhook_endpoints.post("/v1/webhook_endpoints/<endpoint_id>/deliveries/<event_id>/redeliver")
async def redeliver(endpoint_id: str, event_id: str) -> Response:
    """Make a delivery due again, with all its retries."""
    await _find(endpoint_id)
    again = RedeliverEvent(
        endpoint_id, event_id if EVENT_ID.fullmatch(event_id) else "", context().auth.caller(request)
    )
    return json_answer(views.show_event_delivery(await context().queue.ask(again)), 202)


async def _find(endpoint_id: str) -> WebhookEndpoint:
    """Return an endpoint that the caller may see. Raise EndpointNotFound."""
    if not ENDPOINT_ID.fullmatch(endpoint_id):
        raise EndpointNotFound(endpoint_id)
    endpoint = await visibility.read(lambda store: store.webhook_endpoint(endpoint_id))
    if endpoint is None:
        raise EndpointNotFound(endpoint_id)
    return endpoint


def _check_open() -> None:
    if context().draining:
        raise Draining


def _name(fields: Fields) -> str | None:
    name = _value(fields, "name", str, allowed := f"must be a text of 1 to {LONGEST_NAME} characters")
    if name is not None and not (0 < len(name) <= LONGEST_NAME and "\0" not in name):
        raise FieldInvalid("name", name, allowed)
    return name


async def _url(fields: Fields) -> str | None:
    """Return the URL, judged as that of a job's webhooks is. Raise FieldInvalid and WebhookRefused."""
    url = _value(fields, "url", str, allowed := f"must be an address of at most {LONGEST_URL} characters")
    if url is not None:
        if len(url) > LONGEST_URL:
            raise FieldInvalid("url", url, allowed)
        await context().sender.check(url, field="url")
    return url


def _event_types(fields: Fields) -> list[str] | None:
    kinds = _value(fields, "event_types", list[str], allowed := f"must be a list of some of {', '.join(EVENT_TYPES)}")
    if kinds is not None and (not kinds or not set(kinds) <= set(EVENT_TYPES)):
        raise FieldInvalid("event_types", begin_of(fields["event_types"]), allowed)
    return None if kinds is None else list(dict.fromkeys(kinds))


def _value(fields: Fields, name: str, kind: type[T], allowed: str) -> T | None:
    """Return a field, None without one. Raise FieldInvalid for another type."""
    raw = fields.get(name, _NULL)
    if raw == _NULL:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FieldInvalid(name, begin_of(raw), allowed) from error


def _one_of() -> str:
    return f"must be one of {', '.join(EVENT_TYPES)}"
