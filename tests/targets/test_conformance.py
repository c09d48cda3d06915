"""What every kind of target must do, in front of the same scripted server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from msgspec import structs

from foreman.domain.endpoints import ENDPOINTS, at
from foreman.domain.errors import (
    Cost,
    ModelCrashed,
    TargetBusy,
    TargetError,
    TargetFailed,
    TargetGarbled,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.targets.http import pool
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from tests.targets.conftest import WorkerHarness, call, chunks_of, joined, started_upstream, text_in, until

SPOKEN: list[str] = [e for e in ENDPOINTS if "embed" not in e]


@pytest.mark.parametrize("endpoint", SPOKEN)
async def test_streams_every_endpoint_and_joins_it(harness: WorkerHarness, endpoint: str) -> None:
    asked = call("hello #chunks=5", endpoint)
    chunks = await chunks_of(harness.target, asked)
    assert len(chunks) >= 6
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert text_in(endpoint, joined(asked, chunks)) == "w0 w1 w2 w3 w4 "
    assert not any(b"\n" in chunk.data for chunk in chunks)


async def test_native_answers_have_every_promised_key(harness: WorkerHarness) -> None:
    asked = call("hello")
    result = joined(asked, await chunks_of(harness.target, asked))
    assert result["model"] == "a" and result["done"] is True and result["done_reason"] == "stop"
    counts = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count")
    assert all(type(result[name]) is int for name in (*counts, "eval_duration"))
    assert result["prompt_eval_count"] == 5 and result["eval_count"] == 3


async def test_thinking_and_tools_arrive_in_native_shape(harness: WorkerHarness) -> None:
    asked = call("#think #tool")
    message = joined(asked, await chunks_of(harness.target, asked))["message"]
    assert message["thinking"] == "hm"
    function = message["tool_calls"][0]["function"]
    assert (function["name"], function["arguments"]) == ("weather", {"city": "Ulm"})


async def test_a_target_that_does_not_stream_gives_one_chunk(harness: WorkerHarness) -> None:
    asked = call("#plain")
    chunks = await chunks_of(harness.target, asked)
    assert chunks[-1].last
    assert joined(asked, chunks)["message"]["content"] == "w0 w1 w2 "


@pytest.mark.parametrize("endpoint", ["/api/embed", "/v1/embeddings"])
async def test_embeddings_are_one_chunk(harness: WorkerHarness, endpoint: str) -> None:
    asked = call("four", endpoint)
    chunks = await chunks_of(harness.target, asked)
    assert len(chunks) == 1 and chunks[0].last
    result = joined(asked, chunks)
    vector = result["embeddings"][0] if endpoint == "/api/embed" else result["data"][0]["embedding"]
    assert vector == [4.0, 0.5, -1.0]


async def test_lists_its_models(harness: WorkerHarness) -> None:
    assert {model.name for model in await harness.target.models()} >= {"a", "b"}


async def test_whatever_comes_is_heard(harness: WorkerHarness) -> None:
    heard: list[float] = []
    asked = structs.replace(call("#every=0.01 #chunks=4"), heard=lambda: heard.append(trio.current_time()))
    assert len(heard) == 0 and await chunks_of(harness.target, asked) and len(heard) >= 4


async def test_a_slow_answer_is_waited_for(harness: WorkerHarness) -> None:
    asked = call("#slow=0.3")
    assert joined(asked, await chunks_of(harness.target, asked))["message"]["content"] == "w0 w1 w2 "


FAULTS: list[tuple[str, type[TargetError], str]] = [
    ("#break=1", TargetLost, "broke off"),
    ("#cut=0", TargetLost, "ended before the answer"),
    ("#status=500", TargetRefused, "told to by"),  # so each time, and at once
    ("#status=500 #times=1 #slow=1.1", TargetFailed, "told to by"),
    ("#status=408", TargetFailed, "told to by"),
    ("#status=502", TargetFailed, "told to by"),
    ("#status=400", TargetRefused, "told to by"),
    ("#status=429", TargetBusy, "busy"),
    ("#status=503", TargetBusy, "busy"),
    ("#garbage", TargetGarbled, "unreadable"),
    ("#nothttp", TargetGarbled, "unreadable"),
    ("#error", TargetFailed, "it fell over"),
]


@pytest.mark.parametrize(("text", "error", "words"), FAULTS, ids=[text for text, _, _ in FAULTS])
async def test_faults_are_told_apart(harness: WorkerHarness, text: str, error: type[TargetError], words: str) -> None:
    with pytest.raises(error, match=words), trio.fail_after(30):
        await chunks_of(harness.target, call(text))


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if not at(one).past_queue])
async def test_an_answer_without_its_last_mark_is_cut(harness: WorkerHarness, endpoint: str) -> None:
    asked = call("#cut=6 #chunks=9", endpoint)
    *chunks, end = await chunks_of(harness.target, asked)
    assert end.cut and not end.data and not any(chunk.last or chunk.cut for chunk in chunks)
    result = joined(asked, chunks)
    assert text_in(endpoint, result).startswith("w0 w1")
    last = json.loads(chunks[-1].data)
    assert not last.get("done") and result.get("done_reason") is None and result.get("stop_reason") is None


async def test_a_broken_stream_can_be_tried_again(harness: WorkerHarness) -> None:
    asked = call("#break=1 twice")
    with pytest.raises(TargetLost):
        await chunks_of(harness.target, asked)
    assert joined(asked, await chunks_of(harness.target, asked))["message"]["content"] == "w0 w1 w2 "


@pytest.mark.parametrize(("said", "meant"), [("3", 3.0), ("100000", 120.0)])
async def test_retry_after_is_honoured_up_to_a_cap(harness: WorkerHarness, said: str, meant: float) -> None:
    with pytest.raises(TargetBusy) as caught:
        await chunks_of(harness.target, call(f"#status=429 #after={said}"))
    assert caught.value.retry_after == meant and caught.value.cost is Cost.NOTHING


async def test_the_targets_own_words_are_kept_short(harness: WorkerHarness) -> None:
    with pytest.raises(TargetRefused) as caught:
        await chunks_of(harness.target, call("#status=400 \u0007" + "long " * 500))
    assert caught.value.status == 400
    assert len(str(caught.value)) <= 500 and "\u0007" not in str(caught.value)


async def test_a_model_the_target_lacks_is_refused_with_its_words(harness: WorkerHarness) -> None:
    with pytest.raises(TargetRefused, match="model 'zz' not found"):
        await chunks_of(harness.target, call("hello", model="zz"))


async def test_a_huge_answer_streams_in_bounded_memory(harness: WorkerHarness) -> None:
    asked = call("#gigabyte=32")
    await harness.target.load(asked)
    size, largest = 0, 0
    async with harness.target.answer(asked) as chunks:
        try:
            async for chunk in chunks:
                size += len(chunk.data)
                largest = max(largest, len(chunk.data))
        except TargetLost:
            pass  # such a stream has no closing chunk
    assert size > 32 * 2**20 and largest < 100_000


@pytest.mark.parametrize("text", ["#silent", "#stall", "#every=0.01 #chunks=100000"])
async def test_cancelling_closes_the_upstream_connection_at_once(harness: WorkerHarness, text: str) -> None:
    asked = call(text)
    await harness.target.load(asked)

    async def hang() -> None:
        async with harness.target.answer(asked) as chunks:
            async for _ in chunks:
                pass

    async def arrived() -> bool:
        return any(text in str(request["payload"]) for request in (await harness.log())["requests"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang)
        await until(arrived)
        nursery.cancel_scope.cancel()

    async def closed() -> bool:
        log = await harness.log()
        return bool(log.get("closed_early", 0) + log.get("broken", 0))

    with trio.fail_after(30):
        await until(closed)


async def test_leaving_early_closes_the_upstream_connection_at_once(harness: WorkerHarness) -> None:
    asked = call("#every=0.01 #chunks=100000")
    await harness.target.load(asked)
    async with harness.target.answer(asked) as chunks:
        await anext(chunks)

    async def closed() -> bool:
        log = await harness.log()
        return bool(log.get("closed_early", 0) + log.get("broken", 0))

    with trio.fail_after(30):
        await until(closed)


async def test_ended_answers_share_one_connection(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SETTLE", 0.0)
    asked = call()
    await chunks_of(harness.target, asked)
    before = (await harness.log())["connections"]
    for _ in range(10):
        await chunks_of(harness.target, asked)
    assert (await harness.log())["connections"] == before + 1  # the second look at the log


async def test_many_answers_run_together(harness: WorkerHarness) -> None:
    await harness.target.load(call())
    results: list[str] = []

    async def one(number: int) -> None:
        asked = call(f"#echo #every=0.001 number {number}")
        results.append(joined(asked, await chunks_of(harness.target, asked))["message"]["content"])

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(one, number)
    assert sorted(int(text.split()[-1]) for text in results) == list(range(40))


@pytest.mark.parametrize("harness", ["openai", "managed"], indirect=True)  # ollama does this itself
@pytest.mark.parametrize("messages", [[], None])
async def test_no_messages_load_and_keep_alive_zero_unloads(
    harness: WorkerHarness, messages: list[object] | None
) -> None:
    fields: dict[str, Any] = {} if messages is None else {"messages": messages}
    load = call(**fields) if fields else call("", "/api/generate")
    [chunk] = await chunks_of(harness.target, load)
    assert b'"done_reason":"load"' in chunk.data and chunk.last
    unload = call(keep_alive=0, **fields) if fields else call("", "/api/generate", keep_alive=0)
    [chunk] = await chunks_of(harness.target, unload)
    assert b'"done_reason":"unload"' in chunk.data
    if harness.kind == "managed":
        assert not harness.target.is_loaded("a")


async def refusing_port() -> int:
    with trio.socket.socket() as held:
        await held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.mark.parametrize("kind", [OllamaTarget, OpenAITarget])
async def test_a_refused_connection_costs_nothing(kind: type[OllamaTarget] | type[OpenAITarget]) -> None:
    target = kind(f"http://127.0.0.1:{await refusing_port()}")
    with pytest.raises(TargetUnavailable, match="refused") as caught:
        await chunks_of(target, call())
    assert caught.value.cost is Cost.NOTHING
    with pytest.raises(TargetUnavailable):
        await target.models()


async def test_ollama_gets_the_payload_as_it_came(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama") as upstream:
        target = OllamaTarget(upstream.url, keep_alive="-1")
        await nursery.start(target.run)
        fields: dict[str, Any] = {
            "zeta": 1e22,
            "alpha": [0.1, "ü", "\u2028"],
            "options": {"num_ctx": 4096, "temperature": 0.5},
        }
        asked = call("hi", stream=False, **fields)
        await chunks_of(target, asked)
        load, chat = [request for request in (await upstream.log())["requests"] if request["payload"]]
        assert load["payload"] == {"model": "a", "stream": False, "options": {"num_ctx": 4096}, "keep_alive": -1}
        assert list(chat["payload"]) == ["model", "messages", "stream", "zeta", "alpha", "options"]
        assert chat["payload"]["stream"] is True
        assert {name: chat["payload"][name] for name in fields} == fields
        assert (await upstream.log())["loads"] == {"a": 1}
        assert target.is_loaded("a")


async def test_ollama_forgets_what_was_loaded_when_it_is_gone(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama") as upstream:
        target = OllamaTarget(upstream.url)
        await nursery.start(target.run)
        await chunks_of(target, call())
        assert list(target.in_memory()) == ["a"]
    with pytest.raises((TargetUnavailable, TargetLost)):
        await target.models()
    assert not target.in_memory()


def test_no_fault_of_a_managed_model_waits_for_the_inventory() -> None:
    assert ModelCrashed.cost is Cost.ATTEMPT
