"""/v1/webhook_endpoints: made and turned by the official openai SDK's client, verified by its `webhooks.unwrap`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from foreman.domain.webhooks.endpoints import EVENT_TYPES, MOST_ENDPOINTS
from tests.http.compat.test_batches import request, start
from tests.support.foreman import Daemon, Upstream, an_upstream, until
from tests.support.receiver import Got, Receiver, a_receiver

TOKENS = "alice:SECRET-A,bob:SECRET-B"
UNKNOWN = "whe_01ARZ3NDEKTSV4RRFFQ69G5FAV"
QUICK: dict[str, Any] = {
    "token": TOKENS,
    "admin_token": "boss",
    "private_jobs": True,
    "webhook_backoff": 0.05,
    "webhook_backoff_max": 0.2,
    "webhook_retries": 3,
    "retry_backoff": 0.01,
    "slots": 4,
}
SLOWLY = "#chunks=30 #every=0.05"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("endpoints") / "data", ollama_url=upstream.url, **QUICK) as daemon:
        yield daemon
        assert daemon.errors == []


@contextmanager
def sdk(daemon: Daemon, token: str = "SECRET-A") -> Iterator[openai.OpenAI]:
    http = httpx2.Client(trust_env=False)
    more: Any = {"max_retries": 0, "timeout": 60, "_strict_response_validation": True}
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key=token, http_client=http, **more) as client:
        yield client


@pytest.fixture
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with sdk(daemon) as client:
        yield client
        for one in ask(client, "get", "", params={"limit": "100"})["data"]:
            ask(client, "delete", f"/{one['id']}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


def ask(client: openai.OpenAI, method: str, path: str, **more: Any) -> Any:
    """What the SDK's own methods send, wrong or not, and of Foreman's own routes."""
    options = {"params": more["params"]} if "params" in more else {}
    call: Any = getattr(client, method)
    body = {"body": more["body"]} if "body" in more else {}
    return call(f"/webhook_endpoints{path}", cast_to=object, options=options, **body)


def make(client: openai.OpenAI, url: str, *kinds: str, name: str = "mine") -> Any:
    return ask(client, "post", "", body={"name": name, "url": url, "event_types": list(kinds or EVENT_TYPES)})


def unwrapped(client: openai.OpenAI, got: Got, secret: str) -> Any:
    """The event; most of the types that it may have are of other subjects."""
    return client.webhooks.unwrap(got.body, got.headers, secret=secret)


def of(receiver: Receiver, subject: str) -> list[Got]:
    return [got for got in list(receiver.got) if got.payload["data"]["id"] == subject]


def background(client: openai.OpenAI, text: str, **more: Any) -> str:
    return str(client.responses.create(model="a", input=text, background=True, **more).id)


def test_an_endpoint_is_made_shown_changed_and_deleted(client: openai.OpenAI, receiver: Receiver) -> None:
    types = client.get("/webhook_event_types", cast_to=object)
    assert types == {"object": "list", "data": list(EVENT_TYPES)}
    made = make(client, receiver.url, "response.completed", "response.completed")
    secret = made.pop("signing_secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32  # as the SDK decodes it
    assert made["signing_secret_hint"] == f"whsec_...{secret.rstrip('=')[-4:]}"
    assert (made["object"], made["name"], made["url"]) == ("webhook_endpoint", "mine", receiver.url)
    assert (made["event_types"], made["updated_at"]) == (["response.completed"], None)
    assert ask(client, "get", f"/{made['id']}") == made  # without the secret
    changed = ask(client, "post", f"/{made['id']}", body={"name": "other", "event_types": ["batch.failed"]})
    assert (changed["name"], changed["event_types"], changed["url"]) == ("other", ["batch.failed"], receiver.url)
    assert changed["updated_at"] >= made["created_at"] and "signing_secret" not in changed
    gone = ask(client, "delete", f"/{made['id']}")
    assert gone == {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    for method, path in (("get", ""), ("delete", ""), ("post", "/rotate_secret"), ("get", "/deliveries")):
        with pytest.raises(openai.NotFoundError) as error:
            ask(client, method, f"/{made['id']}{path}")
        assert error.value.code == "webhook_endpoint_not_found"


def test_the_sdks_own_methods_make_turn_test_and_delete_an_endpoint(client: openai.OpenAI, receiver: Receiver) -> None:
    assert set(client.webhooks.event_types.list().data) == set(EVENT_TYPES)
    made = client.webhooks.create(name="mine", url=receiver.url, event_types=["batch.completed"])
    changed = client.webhooks.update(made.id, name="yours", event_types=["response.completed"])
    assert (changed.name, changed.event_types) == ("yours", ["response.completed"])
    assert client.webhooks.retrieve(made.id) == changed
    assert [one.id for one in client.webhooks.list(limit=1).data] == [made.id]
    turned = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert turned.signing_secret != made.signing_secret
    assert client.webhooks.test(made.id, event_type="response.completed").success
    for secret in (made.signing_secret, turned.signing_secret):
        assert unwrapped(client, receiver.got[0], secret).type == "response.completed"
    assert client.webhooks.delete(made.id).deleted
    assert client.webhooks.list().data == []


def test_endpoints_are_listed_page_by_page_and_are_not_without_number(
    client: openai.OpenAI, receiver: Receiver
) -> None:
    made = [make(client, receiver.url, name=str(n))["id"] for n in range(MOST_ENDPOINTS)][::-1]
    page = ask(client, "get", "", params={"limit": "3"})
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (made[:3], True)
    assert (page["first_id"], page["last_id"]) == (made[0], made[2])
    rest = ask(client, "get", "", params={"limit": "100", "after": made[2]})
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[3:], False)
    with pytest.raises(openai.BadRequestError) as error:
        make(client, receiver.url)
    assert error.value.code == "too_many_webhook_endpoints"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", ""),
        ("name", "x" * 257),
        ("name", "a\0b"),
        ("name", 5),
        ("url", None),
        ("url", "ftp://example.com/"),
        ("url", "http://user:word@example.com/"),
        ("url", "http://example.com/" + "x" * 2048),
        ("event_types", None),
        ("event_types", []),
        ("event_types", ["response.done"]),
        ("event_types", "response.completed"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(
    client: openai.OpenAI, receiver: Receiver, field: str, value: object
) -> None:
    body = {"name": "mine", "url": receiver.url, "event_types": ["response.completed"], field: value}
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "post", "", body=body)
    assert error.value.param == field


@pytest.mark.parametrize("url", ["http://10.0.0.1/hook", "http://169.254.169.254/latest", "http://2130706433/"])
def test_an_endpoint_goes_nowhere_that_a_jobs_webhook_may_not(
    client: openai.OpenAI, receiver: Receiver, url: str
) -> None:
    known = make(client, receiver.url)["id"]
    for path in ("", f"/{known}"):
        with pytest.raises(openai.BadRequestError) as error:
            ask(client, "post", path, body={"name": "n", "url": url, "event_types": ["batch.failed"]})
        assert (error.value.code, error.value.param) == ("webhook_refused", "url")
    assert ask(client, "get", f"/{known}")["url"] == receiver.url


def test_each_end_of_a_background_response_is_told_and_verified(client: openai.OpenAI, receiver: Receiver) -> None:
    secret = make(client, receiver.url)["signing_secret"]
    completed = background(client, "hello")
    failed = background(client, "#status=400 bad")
    incomplete = background(client, "#cut=6")
    cancelled = background(client, SLOWLY)
    until(lambda: client.responses.retrieve(cancelled).status == "in_progress")
    client.responses.cancel(cancelled)
    expected = {completed: "completed", failed: "failed", cancelled: "cancelled", incomplete: "incomplete"}
    for response_id, status in expected.items():
        until(lambda response_id=response_id: of(receiver, response_id))  # type: ignore[misc]
        [got] = of(receiver, response_id)
        event = unwrapped(client, got, secret)
        assert (event.type, event.data.id, event.object) == (f"response.{status}", response_id, "event")
        assert event.id == got.id and event.id.startswith("evt_")
        assert set(got.payload) == {"object", "id", "type", "created_at", "data"}
        assert client.responses.retrieve(response_id).status == status


def test_each_end_of_a_batch_is_told(client: openai.OpenAI, receiver: Receiver) -> None:
    secret = make(client, receiver.url)["signing_secret"]
    completed = start(client, request("1"))
    failed = start(client, {"custom_id": "no method"})
    cancelled = client.batches.cancel(start(client, request("1", SLOWLY)).id)
    for batch, status in ((completed, "completed"), (failed, "failed"), (cancelled, "cancelled")):
        until(lambda batch=batch: of(receiver, batch.id))  # type: ignore[misc]
        [got] = of(receiver, batch.id)
        event = unwrapped(client, got, secret)
        assert (event.type, event.data.id) == (f"batch.{status}", batch.id)
        assert client.batches.retrieve(batch.id).status == status


def test_the_end_of_a_message_batch_is_told_like_that_of_others(client: openai.OpenAI, receiver: Receiver) -> None:
    secret = make(client, receiver.url)["signing_secret"]
    asked = [{"custom_id": "1", "params": {"model": "a", "messages": [{"role": "user", "content": "hello"}]}}]
    url = str(client.base_url).removesuffix("/v1/")
    with anthropic.Anthropic(base_url=url, api_key=client.api_key) as claude:
        batch = claude.messages.batches.create(requests=asked)  # type: ignore[arg-type]
    until(lambda: of(receiver, batch.id))
    [got] = of(receiver, batch.id)
    event = unwrapped(client, got, secret)
    assert (event.type, event.data.id) == ("batch.completed", batch.id)


def test_only_background_responses_are_told_and_only_of_the_types_asked_for(
    client: openai.OpenAI, receiver: Receiver
) -> None:
    make(client, receiver.url, "response.completed")
    client.responses.create(model="a", input="in the foreground")
    client.chat.completions.create(model="a", messages=[{"role": "user", "content": "hello"}])
    failed = background(client, "#status=400 bad")
    until(lambda: client.responses.retrieve(failed).status == "failed")
    completed = background(client, "hello")
    until(lambda: of(receiver, completed))
    assert [got.payload["data"]["id"] for got in receiver.got] == [completed]


def test_a_rotation_may_keep_the_old_secret_for_a_day(client: openai.OpenAI, receiver: Receiver) -> None:
    made = make(client, receiver.url)
    path, first = f"/{made['id']}", made["signing_secret"]
    second = ask(client, "post", f"{path}/rotate_secret", body={"keep_old_secret_active_for_24_hours": True})
    assert second["signing_secret"] != first
    both = background(client, "hello")
    until(lambda: of(receiver, both))
    for secret in (first, second["signing_secret"]):
        assert unwrapped(client, of(receiver, both)[0], secret).data.id == both
    third = ask(client, "post", f"{path}/rotate_secret")["signing_secret"]
    alone = background(client, "hello")
    until(lambda: of(receiver, alone))
    unwrapped(client, of(receiver, alone)[0], third)
    for secret in (first, second["signing_secret"]):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrapped(client, of(receiver, alone)[0], secret)


def test_an_endpoint_is_tested_while_its_owner_waits(client: openai.OpenAI, receiver: Receiver) -> None:
    made = make(client, receiver.url)
    path = f"/{made['id']}/test"
    outcome = ask(client, "post", path, body={"event_type": "batch.completed"})
    assert outcome == {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": made["id"],
        "event_type": "batch.completed",
        "status_code": 204,
        "success": True,
    }
    assert unwrapped(client, receiver.got[0], made["signing_secret"]).type == "batch.completed"
    receiver.answer = "500"
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "post", path, body={"event_type": "batch.completed"})
    assert error.value.code == "webhook_test_failed" and "500" in error.value.message
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "post", path, body={"event_type": "batch.done"})
    assert error.value.param == "event_type"


def test_a_delivery_is_retried_dies_and_is_delivered_again(client: openai.OpenAI, receiver: Receiver) -> None:
    receiver.answer = "500"
    made = make(client, receiver.url)
    response_id = background(client, "hello")

    def delivery() -> Any:
        found = ask(client, "get", f"/{made['id']}/deliveries")["data"]
        return found[0] if found else None

    until(lambda: (one := delivery()) and one["state"] == "dead")
    dead = delivery()
    assert (dead["attempts"], dead["status"], dead["data_id"]) == (4, 500, response_id)
    assert dead["type"] == "response.completed"
    assert {got.id for got in of(receiver, response_id)} == {dead["id"]}
    receiver.answer = "204"
    with a_receiver() as other:
        ask(client, "post", f"/{made['id']}", body={"url": other.url})
        again = ask(client, "post", f"/{made['id']}/deliveries/{dead['id']}/redeliver")
        assert (again["state"], again["url"]) == ("due", other.url)
        until(lambda: delivery()["state"] == "delivered")
        assert [got.id for got in other.got] == [dead["id"]]
    for unknown in ("evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "x"):
        with pytest.raises(openai.NotFoundError):
            ask(client, "post", f"/{made['id']}/deliveries/{unknown}/redeliver")


def test_a_receiver_that_is_gone_stops_its_own_endpoint_and_that_response_alone(
    client: openai.OpenAI, receiver: Receiver
) -> None:
    receiver.answer = "410"
    with a_receiver() as other:
        gone, well = make(client, receiver.url)["id"], make(client, other.url)["id"]
        first = background(client, "hello")
        until(lambda: of(other, first))
        until(lambda: [one["state"] for one in ask(client, "get", f"/{gone}/deliveries")["data"]] == ["stopped"])
        receiver.answer = "204"
        second = background(client, "hello")
        until(lambda: of(receiver, second))
        until(lambda: of(other, second))
        until(lambda: {one["state"] for one in ask(client, "get", f"/{well}/deliveries")["data"]} == {"delivered"})


def test_private_jobs_hide_endpoints_and_their_deliveries(
    client: openai.OpenAI, daemon: Daemon, receiver: Receiver
) -> None:
    made = make(client, receiver.url)["id"]
    with sdk(daemon, "SECRET-B") as bob, sdk(daemon, "boss") as boss:
        assert ask(bob, "get", "")["data"] == []
        for method, path in (
            ("get", f"/{made}"),
            ("post", f"/{made}"),
            ("delete", f"/{made}"),
            ("post", f"/{made}/rotate_secret"),
            ("post", f"/{made}/test"),
            ("get", f"/{made}/deliveries"),
            ("post", f"/{made}/deliveries/evt_01ARZ3NDEKTSV4RRFFQ69G5FAV/redeliver"),
        ):
            with pytest.raises(openai.NotFoundError) as error:
                ask(bob, method, path, **({"body": {}} if method == "post" else {}))
            assert error.value.code == "webhook_endpoint_not_found"
        theirs = background(bob, "hello")
        until(lambda: bob.responses.retrieve(theirs).status == "completed")
        mine = background(client, "hello")
        until(lambda: of(receiver, mine))
        assert [got.payload["data"]["id"] for got in receiver.got] == [mine]
        assert ask(boss, "get", f"/{made}")["id"] == made


def test_an_event_outlives_a_kill_between_the_end_of_the_job_and_its_delivery(
    upstream: Upstream, tmp_path: Path
) -> None:
    with a_receiver() as receiver:
        url, port = receiver.url, receiver.port  # nothing listens there until the kill
    settings = QUICK | {"webhook_retries": 50}
    with Daemon(tmp_path / "data", ollama_url=upstream.url, **settings) as daemon:
        with sdk(daemon) as client:
            made = make(client, url)
            response_id = background(client, "hello")
            until(lambda: client.responses.retrieve(response_id).status == "completed")
        daemon.kill()
        daemon.start()
        with a_receiver(port=port) as receiver, sdk(daemon) as client:
            until(lambda: of(receiver, response_id))
            event = unwrapped(client, of(receiver, response_id)[0], made["signing_secret"])
            assert (event.type, event.data.id) == ("response.completed", response_id)
            until(
                lambda: (
                    [one["state"] for one in ask(client, "get", f"/{made['id']}/deliveries")["data"]] == ["delivered"]
                )
            )
            assert len({got.id for got in receiver.got}) == 1
