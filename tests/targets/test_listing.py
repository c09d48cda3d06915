"""Lists of models as servers give them, and names that mean the same model."""

from __future__ import annotations

import json

import pytest

from foreman.errors import TargetGarbled
from foreman.targets.model_names import ollama_form
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
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
