"""Lists of models as servers give them, and names that mean the same model."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from foreman.errors import TargetGarbled
from foreman.targets.http1 import Client
from foreman.targets.listing import LIMIT, MOST_DETAILS, MOST_MODELS, listed
from foreman.targets.model_names import ollama_form
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from foreman.weight import MOST_VALUES
from tests.targets.test_http1 import replies, serving

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


async def test_a_long_list_is_read_in_a_thread() -> None:
    threads: set[bool] = set()

    def make(name: str, entry: dict[str, Any]) -> str:
        threads.add(threading.current_thread() is threading.main_thread())
        return name

    async with serving(replies(ok({"data": [{"id": f"m{n}"} for n in range(50_000)]}))) as url:
        client = Client(url, name="t")
        names = await listed(client, "/v1/models", make, named_by=["id"])
        client.close()
    assert (len(names), threads) == (50_000, {False})


@pytest.mark.parametrize(
    "told",
    [
        b"[" + b'"m",' * MOST_MODELS + b'"m"]',
        b"[" + b"{}," * MOST_VALUES + b"{}]",
        b'{"data":["' + b"m" * LIMIT + b'"]}',
    ],
)
async def test_a_list_that_is_too_long_is_no_inventory(told: bytes) -> None:
    async with serving(replies(ok(told))) as url:
        target = OpenAITarget(url)
        with pytest.raises(TargetGarbled, match="more than|at most|larger than"):
            await target.models()
        target.close()


async def test_of_a_large_entry_only_the_name_is_kept() -> None:
    async with serving(replies(ok([{"id": "a", "x": "y" * MOST_DETAILS}, {"id": "b", "x": "y"}]))) as url:
        target = OpenAITarget(url)
        assert [(model.name, model.told()) for model in await target.models()] == [
            ("a", {}),
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
