"""What is known of an Ollama's memory, and loads that take their time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from foreman.domain.errors import Cost, LoadTimeout
from foreman.targets import ollama
from foreman.targets.ollama import OllamaTarget
from tests.targets.conftest import call, chunks_of, started_upstream, until
from tests.targets.test_http1 import request_from, serving


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks soon and often."""
    monkeypatch.setattr(ollama, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(ollama, "LOOK_PAUSE", 0.01)


@pytest.fixture
async def never_loading() -> AsyncIterator[str]:
    """An Ollama that has `x` in memory and loads nothing else."""

    async def serve(stream: trio.SocketStream) -> None:
        while request := await request_from(stream):
            if b" /api/generate " in request:
                await trio.sleep_forever()
            body = json.dumps({"models": [{"name": "x:latest"}]}).encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with serving(serve) as url:
        yield url


@pytest.mark.usefixtures("attentive")
async def test_a_load_that_takes_long_is_warned_of_with_what_is_in_memory(
    never_loading: str, nursery: trio.Nursery
) -> None:
    target = OllamaTarget(never_loading, load_timeout=60)
    warned: list[Any] = []

    async def warning() -> bool:
        warned[:] = [line for line in logs if line["event"] == "a model is not loaded yet"]
        return bool(warned)

    with capture_logs() as logs:
        await nursery.start(target.run)
        nursery.start_soon(target.load, call())
        await until(warning)
        nursery.cancel_scope.cancel()
    assert (warned[0]["model"], warned[0]["loaded"], warned[0]["log_level"]) == ("a", ["x:latest"], "warning")


async def test_a_load_that_does_not_come_is_given_up(never_loading: str) -> None:
    target = OllamaTarget(never_loading, load_timeout=0.05)
    with pytest.raises(LoadTimeout, match=r"ollama did not load a within 0.05 s") as caught:
        await target.load(call())
    assert caught.value.cost is Cost.ATTEMPT and not target.is_loaded("a")
    target._client.close()


async def test_keep_alive_goes_with_the_load_of_a_model_that_is_not_in_memory_and_with_nothing_else(
    nursery: trio.Nursery,
) -> None:
    async with started_upstream("--kind", "ollama") as upstream:
        target = OllamaTarget(upstream.url, keep_alive="10m")
        await nursery.start(target.run)
        await chunks_of(target, call("one"))
        target._in_memory = ()  # as if this Foreman had just started
        await chunks_of(target, call("two"))
        await chunks_of(target, call("three", "/api/embed", "b"))
        sent = [request["payload"] for request in (await upstream.log())["requests"] if request["payload"]]
        assert [body.get("keep_alive") for body in sent] == ["10m", None, None, None, None]


@pytest.mark.usefixtures("attentive")
async def test_a_model_that_had_to_make_room_for_embeddings_is_not_held_loaded(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama") as upstream:
        target = OllamaTarget(upstream.url)
        await nursery.start(target.run)
        await chunks_of(target, call())
        assert target.is_loaded("a")
        await chunks_of(target, call("x", "/api/embed", "b"))

        async def forgotten() -> bool:
            return not target.is_loaded("a")

        await until(forgotten)
        await chunks_of(target, call())
        assert (await upstream.log())["loads"] == {"a": 2, "b": 1}


@pytest.mark.usefixtures("attentive")
async def test_a_model_that_stays_in_memory_stays_known(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama") as upstream:
        target = OllamaTarget(upstream.url)
        await nursery.start(target.run)
        await chunks_of(target, call(model="A"))

        async def looked() -> bool:
            await target.models()
            return [request["path"] for request in (await upstream.log())["requests"]].count("/api/ps") > 2

        await until(looked)
        assert target.is_loaded("A")


async def test_a_server_with_room_for_two_models_keeps_both(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama", "--max-loaded", "2") as upstream:
        target = OllamaTarget(upstream.url, max_loaded=2)
        await nursery.start(target.run)
        for model in "abab":
            await target.load(call(model=model))
            await chunks_of(target, call(model=model))
        assert target.in_memory() == ("a", "b")
        assert (await upstream.log())["loads"] == {"a": 1, "b": 1}


@pytest.mark.usefixtures("attentive")
async def test_what_the_server_chose_to_unload_for_another_model_is_believed(nursery: trio.Nursery) -> None:
    async with started_upstream("--kind", "ollama", "--max-loaded", "2") as upstream:
        target = OllamaTarget(upstream.url, max_loaded=2)
        await nursery.start(target.run)
        for model in "abac":  # it unloads `a`, which it loaded first
            await chunks_of(target, call(model=model))

        async def known() -> bool:
            return set(target.in_memory()) == {"b", "c"}

        await until(known)
