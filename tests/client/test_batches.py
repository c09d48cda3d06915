"""Batches by both clients, and the operations alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreman.client import (
    ArgumentInvalid,
    AsyncClient,
    Batched,
    Client,
    ConnectFailed,
    LinesRefused,
    NotEnded,
    NotForeman,
    Refused,
    batch_operations,
)
from foreman.client.batch_input import BatchInput, opened
from foreman.client.operations import Emit, Held, Pause
from tests.cli.conftest import TOKEN, App, an_app
from tests.cli.test_batch import UNKNOWN, job, lines, request
from tests.client.conftest import StaticAnswer
from tests.client.test_async import Run
from tests.client.test_async import run as run


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("app"), kind="openai") as app:
        yield app


def test_a_batch_from_its_file_to_its_results(app: App, tmp_path: Path) -> None:
    path, sent = tmp_path / "many.jsonl", list[int]()
    path.write_bytes(lines(*(request(str(n), "x" * 10_000) for n in range(60))))
    with app.client() as client:
        batch = client.submit_batch(path, metadata={"of": "me"}, sent=sent.append)
        assert (batch.endpoint, batch.metadata, batch.kind) == ("/v1/chat/completions", {"of": "me"}, "openai")
        assert sent == sorted(sent)
        assert sent[-1] == path.stat().st_size
        seen = list(client.watch_batch(batch.batch_id))
        assert (seen[-1].state, seen[-1].done, seen[-1].total) == ("completed", 60, 60)
        assert client.wait_batch(batch.batch_id) == seen[-1] == client.batch(batch.batch_id)
        assert [one.batch_id for one in client.batches(limit=1).batches] == [batch.batch_id]
        results = list(client.batch_results(batch.batch_id))
        assert [line["custom_id"] for line in results] == [str(n) for n in range(60)]
        assert [msgspec.json.decode(line) for line in client.batch_lines(batch.batch_id)] == results
        with pytest.raises(Refused, match="Cannot cancel"):
            client.cancel_batch(batch.batch_id)


def test_the_same_on_an_event_loop(app: App, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(request("one"), request("two")))

    async def use() -> None:
        async with AsyncClient(app.url, TOKEN) as client:
            for given in (path, path.read_bytes(), BytesIO(path.read_bytes())):
                batch = await client.submit_batch(given)
                batch = await client.wait_batch(batch.batch_id)
                assert (batch.state, batch.done) == ("completed", 2)
                async with aclosing(client.batch_results(batch.batch_id)) as results:
                    assert [line["custom_id"] async for line in results] == ["one", "two"]
            batch = await client.submit_batch(lines(request("slow", "#silent")))
            with pytest.raises(NotEnded, match=rf"^{batch.batch_id} has not ended within 0.2 s"):
                await client.wait_batch(batch.batch_id, within=0.2)
            with pytest.raises(Refused, match="has not ended"):
                async with aclosing(client.batch_results(batch.batch_id)) as results:
                    await anext(results)
            assert (await client.cancel_batch(batch.batch_id)).state == "cancelling"
            assert (await client.wait_batch(batch.batch_id)).cancelled == 1

    run(use)


def test_jobs_are_a_batch_once_under_their_key(app: App) -> None:
    given = lines(job("one"), job("two"))
    with app.client() as client:
        batch = client.submit_batch(given, name="mine", idempotency_key="tonight")
        assert client.submit_batch(given, name="mine", idempotency_key="tonight").batch_id == batch.batch_id
        with pytest.raises(Refused, match="already used with another body"):
            client.submit_batch(lines(job("three")), name="mine", idempotency_key="tonight")
        assert client.wait_batch(batch.batch_id).done == 2
        with pytest.raises(LinesRefused, match=r"^2 lines are refused, the first is 2: ") as caught:
            client.submit_batch(lines(job("one"), "{", "[]"))
        assert (caught.value.rejected, [error.line for error in caught.value.errors]) == (2, [2, 3])
        with pytest.raises(ArgumentInvalid, match="idempotency_key does not go with batch.jsonl"):
            client.submit_batch(lines(request("one")), idempotency_key="tonight")


@pytest.mark.parametrize("given", [b"", b"\n\n", b"{", b"[]", b"{}", b'{"url": 1, "body": {}}', b"\xff"])
def test_what_is_no_batch_is_refused_before_anything_is_sent(told: StaticAnswer, given: bytes) -> None:
    with Client() as client, pytest.raises(ArgumentInvalid, match="must be a request of OpenAI's Batch API"):
        client.submit_batch(given)
    assert told.asked == []


def test_an_input_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / 'a "b".jsonl'
    path.write_bytes(b"\n" + lines(request("one")))
    with opened(path) as given:
        assert (given.name, given.endpoint, given.is_native) == ('a "b".jsonl', "/v1/chat/completions", False)
        kind = given.as_form()
        body = b"".join(given.pieces())
    assert len(body) == given.length
    assert b'name="file"; filename="a %22b%22.jsonl"' in body
    assert path.read_bytes() in body
    assert body.endswith(f"--{kind.partition('=')[2]}--\r\n".encode())
    native = BatchInput(BytesIO(b'{"model": "a"}'))
    assert (native.is_native, b"".join(native.pieces())) == (True, b'{"model": "a"}')


def test_results_that_break_off_are_no_results(told: StaticAnswer) -> None:
    route = f"GET /batches/{UNKNOWN}/results"
    told.stream(route, b'{"custom_id": "o', b'ne"}\n{"custom_id"', media="application/x-ndjson")
    told.stream(route, b"{\n", media="application/x-ndjson")
    with Client() as client:
        results = client.batch_results(UNKNOWN)
        assert next(results) == {"custom_id": "one"}
        with pytest.raises(ConnectFailed, match="broke off"):
            next(results)
        with pytest.raises(NotForeman, match="a line of the results is not JSON"):
            list(client.batch_results(UNKNOWN))


def test_a_batch_is_watched_over_an_outage() -> None:
    def shown(state: str, **more: Any) -> Batched:
        fields = {"batch_id": UNKNOWN, "endpoint": "/v1/chat/completions", "created_at": "2026-01-01T00:00:00Z"}
        return msgspec.convert(fields | {"state": state} | more, Batched)

    now = 100.0
    gone = ConnectFailed("http://foreman", "it broke")
    first, then, last = shown("validating"), shown("in_progress", total=2), shown("completed", total=2, done=2)
    answers = iter([first, gone, gone, then, then, last])
    held = Held(batch_operations.watch(UNKNOWN, None, 60, lambda: now))
    seen = []
    while (step := held.step) is not None:
        if isinstance(step, Emit):
            seen.append(step.value)
            held.send(None)
        elif isinstance(step, Pause):
            now += step.seconds
            held.send(None)
        elif isinstance(answer := next(answers), ConnectFailed):
            held.throw(answer)
        else:
            held.send(answer)
    assert seen == [first, then, last]
    with pytest.raises(ConnectFailed):
        Held(batch_operations.wait(UNKNOWN, None, 60, lambda: now)).throw(gone)
