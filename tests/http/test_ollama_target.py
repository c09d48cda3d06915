"""Foreman before an Ollama: what it holds in memory, what it calls its models, and how its errors are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.http.conftest import Api
from tests.support.foreman import Upstream, an_upstream, until
from tests.support.target import Memory

Fresh = Callable[..., Api]


@pytest.fixture
def one_model_at_a_time() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama", "--load-time", "0.02") as upstream:
        yield upstream


def at_once(asks: list[Callable[[httpx2.Client], httpx2.Response]], url: str) -> list[int]:
    """The statuses of requests that are all under way together."""

    def ask(send: Callable[[httpx2.Client], httpx2.Response]) -> int:
        with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
            return send(client).status_code

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(ask, asks))


def a_chat(n: int) -> Callable[[httpx2.Client], httpx2.Response]:
    message = {"role": "user", "content": f"#slow=0.02 chat {n}"}
    body = {"model": "a", "messages": [message], "stream": False}
    return lambda client: client.post("/api/chat", json=body)


def an_embedding(n: int) -> Callable[[httpx2.Client], httpx2.Response]:
    return lambda client: client.post("/api/embed", json={"model": "b", "input": f"#slow=0.02 text {n}"})


def mixed() -> list[Callable[[httpx2.Client], httpx2.Response]]:
    return [ask for n in range(12) for ask in (a_chat(n), an_embedding(n))]


@pytest.mark.parametrize("keep_alive", ["", "-1", "5m"])
def test_two_models_on_an_ollama_with_room_for_one_do_not_hang_it(
    fresh: Fresh, one_model_at_a_time: Upstream, keep_alive: str
) -> None:
    api = fresh(ollama_url=one_model_at_a_time.url, keep_alive=keep_alive, slots=4, load_timeout=10)
    assert at_once(mixed(), api.daemon.url) == [200] * 24
    sent = [request["payload"] for request in one_model_at_a_time.log()["requests"] if request["payload"]]
    assert not [body for body in sent if "keep_alive" in body and ("messages" in body or "input" in body)]
    kept = [body["keep_alive"] for body in sent if "keep_alive" in body]
    assert bool(kept) is bool(keep_alive)


async def test_such_an_ollama_hangs_where_a_loaded_model_is_asked_for_with_a_keep_alive(
    autojump_clock: MockClock,
) -> None:
    """What the scripted server has to do for the test above to mean anything."""
    for keep_alive, hangs in ((None, False), (-1, True), ("5m", True)):
        memory, [stream, _client] = Memory(no_load), memory_stream_pair()
        loaded = trio.Event()

        async def want_b(
            memory: Memory = memory, stream: trio.abc.ReceiveStream = stream, loaded: trio.Event = loaded
        ) -> None:
            async with memory.holding(stream, "b", {}, None):
                loaded.set()

        async with trio.open_nursery() as nursery:
            async with memory.holding(stream, "a", {}, None):
                nursery.start_soon(want_b)
                await trio.sleep(1)
                async with memory.holding(stream, "a", {}, keep_alive):
                    pass
            await trio.sleep(1)
            assert loaded.is_set() is not hangs
            nursery.cancel_scope.cancel()


async def no_load(key: tuple[object, ...]) -> None:
    await trio.lowlevel.checkpoint()


def test_a_load_that_does_not_come_is_given_up_and_others_run(fresh: Fresh, one_model_at_a_time: Upstream) -> None:
    api = fresh(ollama_url=one_model_at_a_time.url, load_timeout=0.5, retry_backoff=60, max_attempts=2)
    stalled = one_model_at_a_time.url + "/api/chat"
    with httpx2.stream("POST", stalled, json=asked("#stall") | {"stream": True}, trust_env=False, timeout=60):
        stuck = api.submit("x", "b")  # for as long as the stalled answer holds its model
        api.until_state("loading", stuck)
        other = api.submit("x", "a")
        assert api.ended(other)["state"] == "done"
        job = api.job(stuck)
        assert (job["state"], job["attempt"], job["error_code"]) == ("queued", 1, "load_timeout")
        assert job["error"] == "ollama did not load b within 0.5 s"


@pytest.mark.parametrize("name", ["A", "library/a", "registry.ollama.ai/library/A", "a:LATEST"])
def test_an_ollama_model_is_found_by_every_name_that_ollama_takes(fresh: Fresh, name: str) -> None:
    with an_upstream("--kind", "ollama", "--models", "a:latest,b") as upstream:
        api = fresh(ollama_url=upstream.url)
        job = api.ended(api.submit("x", name))
        assert (job["state"], job["model"]) == ("done", name)
        asked = [request["payload"] for request in upstream.asked(name)]
        assert asked and {body["model"] for body in asked} == {name}  # as the caller wrote it
        api.ended(api.submit("y", "a"))
        assert upstream.log()["loads"] == {"a:latest": 1}  # one key for both


SECRETS = ["#status=500", "#status=400", "#status=502", "#break=9", "#silent", "#garbage", "#nothttp", "#error", "#cut"]
MODELS = [f"m{n}" for n, _ in enumerate(SECRETS)]  # one that fails often rests


def test_no_error_that_a_caller_sees_has_the_address_of_the_server(fresh: Fresh) -> None:
    with an_upstream("--kind", "both", "--models", ",".join(["a", *MODELS])) as upstream:
        api = fresh(ollama_url=upstream.url, first_chunk_timeout=0.5, max_attempts=1)
        address = f"127.0.0.1:{upstream.port}"
        said = []
        for text, model in zip(SECRETS, MODELS, strict=True):
            said.append(api.ended(api.submit(f"{text} secret", model))["error"])
            body = asked(f"{text} again") | {"model": model}
            said += [api.http.post(path, json=body).text for path in ("/api/chat", "/v1/chat/completions")]
        said.append(api.http.post("/api/embed", json={"model": "a", "input": "#status=502"}).text)
        upstream.stop()
        away = "cannot reach ollama: connection refused"  # degraded it is already: each call of the models failed
        until(lambda: api.http.get("/healthz").json()["target_error"] == away)
        said += [api.post("x", "never seen").text, api.http.post("/api/embed", json={"model": "a", "input": "x"}).text]
    assert all(said) and not [text for text in said if address in text or str(upstream.port) in text]
    assert any(address in line.get("target", "") for line in api.daemon.logs)


def asked(text: str) -> dict[str, Any]:
    return {"model": "a", "messages": [{"role": "user", "content": text}], "stream": False}


@pytest.mark.parametrize(("status", "words"), [(501, "told to by #status=501"), (500, "told to by #status=500")])
def test_an_error_of_embeddings_that_comes_every_time_has_its_own_status(fresh: Fresh, status: int, words: str) -> None:
    with an_upstream("--kind", "both", "--models", ",".join(["a", *MODELS])) as upstream:
        api = fresh(ollama_url=upstream.url)
        native = api.http.post("/api/embed", json={"model": "a", "input": f"#status={status}"})
        assert (native.status_code, native.json()) == (status, {"error": words})
        spoken = api.http.post("/v1/embeddings", json={"model": "a", "input": f"#status={status}"})
        assert (spoken.status_code, spoken.json()["error"]["message"]) == (status, words)
        body = {"model": "a", "endpoint": "/api/embed", "input": f"#status={status}"}
        job = api.ended(api.http.post("/jobs", json=body).json()["job_id"])
        assert (job["state"], job["attempt"], job["error"]) == ("failed", 1, words)
