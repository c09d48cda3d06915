"""The types have a place for every key of every answer: nothing that Foreman says is lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from foreman.client import Client, requests, selection_requests, types
from foreman.client.requests import Ask
from foreman.domain import views
from foreman.http.openapi.schemas import schemas
from foreman.receiver import LOOPBACK, Post, Received
from tests.cli.conftest import an_app

TYPES = {
    "ListedJob": types.Job,
    "Job": types.Job,
    "Page": types.Page,
    "Line": types.Line,
    "Submitted": types.Submitted,
}


def lost(kind: inspect.Type, value: object, at: str = "") -> Iterator[str]:
    """Yield the places of keys that the type does not have."""
    match kind, value:
        case inspect.StructType(), dict():
            known = {field.encode_name: field.type for field in kind.fields}
            for key, inner in value.items():
                if key in known:
                    yield from lost(known[key], inner, f"{at}.{key}")
                else:
                    yield f"{at}.{key}"
        case inspect.ListType(), list():
            for inner in value:
                yield from lost(kind.item_type, inner, f"{at}[]")
        case inspect.DictType(), dict():
            for inner in value.values():
                yield from lost(kind.value_type, inner, f"{at}{{}}")
        case inspect.UnionType(), _:
            for one in kind.types:
                yield from lost(one, value, at)


@pytest.mark.parametrize("name", TYPES)
def test_what_the_description_promises_has_a_place(name: str) -> None:
    assert list(lost(inspect.type_info(TYPES[name]), dict.fromkeys(schemas()[name]["properties"]))) == []


def test_so_has_what_a_real_foreman_answers(tmp_path: Path) -> None:
    posted: SimpleQueue[Received] = SimpleQueue()

    def take(received: Received) -> int:
        posted.put(received)
        return 204

    with an_app(tmp_path) as app, app.client() as client:
        post = Post(LOOPBACK, 0, take)
        post.start()
        done = client.run("a", "#echo x", custom_id="c", metadata={"a": "b"}, state_webhook_url=post.url)
        hooks = [posted.get(timeout=60) for _ in range(4)]  # queued, loading, working, done
        client.wait(client.submit("a", "#status=400", state_webhook_url=post.url).job_id)
        assert found(client, done.job_id) == []
        for hook in hooks:
            assert list(lost(inspect.type_info(types.Webhook), msgspec.json.decode(hook.body))) == []
        post.close()


def found(client: Client, job_id: str) -> list[str]:
    """Ask everything that there is to ask, and return what no type has a place for."""
    unknown: list[str] = []

    def raw(ask: Ask[Any]) -> Any:
        value = msgspec.json.decode(client.raw(ask))
        unknown.extend(f"{ask.path}{key}" for key in lost(inspect.type_info(ask.answer), value))
        return value

    client.submit("a", "#silent")
    raw(requests.pause())
    raw(requests.submit({"model": "a", "prompt": "x", "endpoint": "/api/generate"}))
    client.submit("a", "x", not_before="2099-01-01T00:00:00Z")  # type: ignore[arg-type]
    assert raw(requests.submit_many(b'{"model":"a","prompt":"x","custom_id":"d"}\n{"modl":"b"}'))["errors"]
    waiting = raw(requests.waiting())
    assert waiting["jobs"]
    assert waiting["scheduled"]
    assert raw(requests.queue())["defaults"]
    assert raw(requests.usage("minute", "model", None, None))["rows"]
    assert raw(requests.me())["rights"]
    assert raw(requests.settings())["settings"]
    raw(requests.usage(None, None, None, None))
    for path in (requests.job(job_id), requests.jobs(limit=50), requests.events(job_id), requests.health()):
        raw(path)
    (delivery, *_) = raw(requests.deliveries(job_id))["deliveries"]
    raw(requests.redeliver(job_id, delivery["delivery_id"]))
    raw(requests.cancel(waiting["jobs"][0]["job_id"]))
    raw(requests.retry(waiting["jobs"][0]["job_id"]))
    raw(
        selection_requests.uncancel(
            raw(selection_requests.cancel(False, {"id": waiting["jobs"][0]["job_id"]}))["changes"]
        )
    )
    raw(requests.resume())
    return unknown


def test_a_key_without_a_place_is_seen() -> None:
    kind = inspect.type_info(views.Queue)
    assert list(lost(kind, {"queued": 1, "new": 1, "running": [{"other": 1}]})) == [".new", ".running[].other"]
