"""Lists of models as servers give them, and names that mean the same model."""

from __future__ import annotations

import gc
import json
import threading
from typing import Any

import msgspec
import pytest
import trio

from foreman.domain.errors import TargetError, TargetGarbled
from foreman.targets.http.pool import Client
from foreman.targets.model_listing import Listing
from foreman.targets.model_names import ollama_form
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from tests.targets.test_http1 import replies, request_from, serving

ENTRY = {"id": "org/m", "object": "model"}


def ok(value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({"object": "list", "data": [ENTRY]}, ["org/m"]),
        ([ENTRY, {"id": "n"}], ["org/m", "n"]),
        (["a", "b"], ["a", "b"]),
        ({"models": ["a"]}, ["a"]),
        ({"models": [{"name": "a"}, {"model": "b"}, {"id": "c", "name": "The C"}]}, ["a", "b", "c"]),
        ({"data": None, "models": [{"name": "a"}]}, ["a"]),
        ({"object": "list", "data": None}, []),
        ([], []),
        ([{"name": 5}, None, "", {"id": "a"}], ["a"]),
    ],
)
async def test_a_list_of_models_in_any_shape(told: object, names: list[str]) -> None:
    async with serving(replies(ok(told))) as url:
        target = OpenAITarget(url)
        assert [model.name for model in await target.models()] == names
        target.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 38\r\n\r\n" + b'{"error": "wrong key: sk-hush\\/hush2"}',
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 24\r\n\r\nwrong key: sk-hush/hush2",
        b'HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{"error": "wrong key: sk-hush/hush2"}',
    ],
)
async def test_a_server_that_says_its_token_does_not_tell_it_to_callers(answer: bytes) -> None:
    async with serving(replies(answer)) as url:
        target = OpenAITarget(url, "sk-hush/hush2")
        with pytest.raises(TargetError, match=r"wrong key: \*\*\*") as caught:
            await target.models()
        target.close()
    assert "hush" not in str(caught.value)


async def test_a_short_token_is_a_word_like_any_other() -> None:
    async with serving(replies(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nEMPTY prompt")) as url:
        target = OpenAITarget(url, "EMPTY")
        with pytest.raises(TargetError, match="EMPTY prompt"):
            await target.models()
        target.close()


async def test_a_long_list_is_read_in_a_thread() -> None:
    threads: set[bool] = set()

    def make(name: str, entry: dict[str, Any]) -> str:
        threads.add(threading.current_thread() is threading.main_thread())
        return name

    async with serving(replies(ok({"data": [{"id": f"m{n}"} for n in range(50_000)]}))) as url:
        client = Client(url, name="t")
        names = await Listing(client, "/v1/models", make, named_by=["id"]).ask()
        client.close()
    assert (len(names), threads) == (50_000, {False})


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"[" + b'"m",' * 200_000 + b'"m"]', "at most 200000"),
        (b"[" + b"{}," * 1_000_000 + b"{}]", "more than 1000000 values"),
        (b'{"data":["' + b"m" * 2**24 + b'"]}', "larger than"),
    ],
)
async def test_a_list_that_is_too_long_is_no_inventory(told: bytes, why: str) -> None:
    async with serving(replies(ok(told))) as url:
        target = OpenAITarget(url)
        with pytest.raises(TargetGarbled, match=why):
            await target.models()
        target.close()


async def test_a_list_that_has_not_changed_is_not_read_again() -> None:
    made: list[str] = []

    def make(name: str, entry: dict[str, Any]) -> str:
        made.append(name)
        return name

    answers = iter([ok(told) for told in (["a"], ["a"], ["a", "b"], ["a"])])

    async def serve(stream: trio.SocketStream) -> None:
        while await request_from(stream):
            await stream.send_all(next(answers))

    async with serving(serve) as url:
        client = Client(url, name="t")
        listing = Listing(client, "/v1/models", make, named_by=["id"])
        assert [await listing.ask() for _ in range(4)] == [["a"], ["a"], ["a", "b"], ["a"]]
        client.close()
    assert made == ["a", "a", "b", "a"]


async def test_items_of_a_list_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """In between, other threads have their turn; and what was made of one is gone before the next."""
    built: list[int] = []
    decode = msgspec.json.decode

    def note(text: bytes, **how: Any) -> Any:
        if "type" not in how:
            built.append(len(memoryview(text)))
        return decode(text, **how)

    monkeypatch.setattr("foreman.targets.model_listing.msgspec.json.decode", note)
    async with serving(replies(ok({"models": [{"id": f"m{n}"} for n in range(100)] + [{"id": "m" * 10**6}]}))) as url:
        target = OpenAITarget(url)
        assert len(await target.models()) == 100  # nobody can ask for the last one
        target.close()
    assert len(built) == 101
    assert sorted(built)[-2] < 20


async def test_the_collector_walks_through_no_models() -> None:
    async with serving(replies(ok({"models": [{"name": "a:latest", "size": 1}, {"name": "b"}]}))) as url:
        target = OllamaTarget(url)
        models = await target.models()
        target._client.close()
    assert [gc.is_tracked(model) for model in models] == [False, False]
    assert [model.aliases for model in models] == [("a",), ()]


async def test_of_a_large_entry_only_the_name_is_kept() -> None:
    async with serving(replies(ok([{"id": "a", "x": "y" * 20_000}, {"id": "b", "x": "y"}]))) as url:
        target = OpenAITarget(url)
        assert [(model.name, model.told()) for model in await target.models()] == [
            ("a", {"id": "a"}),
            ("b", {"id": "b", "x": "y"}),
        ]
        target.close()


@pytest.mark.parametrize("told", [{}, {"data": "x"}, 5, b"<html>", {"error": "Unexpected endpoint"}])
async def test_what_is_no_list_is_no_inventory(told: object) -> None:
    async with serving(replies(ok(told))) as url:
        for target in (OpenAITarget(url), OllamaTarget(url)):
            with pytest.raises(TargetGarbled, match="no list of models at /"):
                await target.models()
            target._client.close()


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("smollm2", "SmolLM2:latest"),
        ("smollm2:135m", "SMOLLM2:135M"),
        ("smollm2:135m", "library/smollm2:135m"),
        ("smollm2:135m", "registry.ollama.ai/library/smollm2:135m"),
        ("smollm2:135m", "https://Registry.Ollama.AI/library/smollm2:135m"),
        ("me/own", "registry.ollama.ai/me/own:latest"),
        ("hf.co/Org/M-GGUF:Q4_K_M", "hf.co/org/m-gguf:q4_k_m"),
        ("localhost:5000/library/m", "LOCALHOST:5000/library/m:latest"),
    ],
)
def test_names_that_ollama_holds_equal(name: str, same: str) -> None:
    assert ollama_form(name) == ollama_form(same)


@pytest.mark.parametrize(
    ("name", "other"),
    [("m", "m:7b"), ("m", "me/m"), ("me/m", "you/m"), ("hf.co/library/m", "m"), ("m:a", "n:a"), ("m", "m:")],
)
def test_names_that_mean_different_models(name: str, other: str) -> None:
    assert ollama_form(name) != ollama_form(other)
