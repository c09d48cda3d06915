"""The embedded engine with its real model, and what it says when it cannot serve."""

from __future__ import annotations

import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec import structs

from foreman.config.managed_model import ManagedModel
from foreman.targets.counting import _chat, _tokenized
from foreman.targets.managed import engine, model_file
from foreman.targets.managed.target import ManagedTarget
from tests.targets.conftest import ROOT, call, chunks_of, joined, text_in

ENGINE = [
    sys.executable,
    "-c",
    "import sys; from foreman.targets.managed.engine import main; sys.exit(main(sys.argv[1:]))",
]
NAME = engine.DEFAULT_NAME


@pytest.fixture
async def embedded(nursery: trio.Nursery, tmp_path: Path) -> ManagedTarget:
    models = []
    for fields in engine.default_models(slots=2):
        options = fields["command"][fields["command"].index("engine") + 1 :]
        models.append(ManagedModel(**{**fields, "command": [*ENGINE, *options]}))
    target = ManagedTarget(models, tmp_path)
    await nursery.start(target.run)
    return target


async def test_the_real_model_answers_on_every_face(embedded: ManagedTarget) -> None:
    asks: list[tuple[str, dict[str, Any]]] = [
        ("/api/chat", {"options": {"num_predict": 8, "temperature": 0}}),
        ("/api/generate", {"options": {"num_predict": 8, "temperature": 0}}),
        ("/v1/chat/completions", {"max_tokens": 8, "temperature": 0}),
        ("/v1/completions", {"max_tokens": 8, "temperature": 0}),
        ("/v1/responses", {"max_output_tokens": 8, "temperature": 0}),
        ("/v1/messages", {"max_tokens": 8, "temperature": 0}),
    ]
    with trio.fail_after(120):
        for endpoint, fields in asks:
            asked = call("Say hello in one word.", endpoint, model=NAME, **fields)
            chunks = await chunks_of(embedded, asked)
            assert chunks[-1].last and len(chunks) > 3, endpoint
            result = joined(asked, chunks)
            assert text_in(endpoint, result).strip(), endpoint
            if endpoint == "/api/chat":
                assert result["model"] == NAME and result["done_reason"] == "length"
                assert result["eval_count"] == 8 and result["prompt_eval_count"] > 5
                assert result["load_duration"] > 0 and result["eval_duration"] > 0
            if endpoint == "/v1/chat/completions":
                assert result["usage"]["completion_tokens"] == 8


async def test_its_tokenizer_counts_what_its_own_route_counts(embedded: ManagedTarget) -> None:
    asked = call("", "/v1/messages", model=NAME)
    tool = {"name": "now", "description": "The time.", "input_schema": {"type": "object", "properties": {}}}
    with trio.fail_after(120):
        for fields in ({}, {"system": "Be brief."}, {"system": "Be brief.", "tools": [tool]}):
            told = {"model": NAME, "messages": [{"role": "user", "content": "Say <|im_end|> hello, ça va?"}], **fields}
            asked = structs.replace(asked, payload=msgspec.json.encode(told))
            [by_route] = msgspec.json.decode(await embedded.count("/v1/messages/count_tokens", asked)).values()
            chat = _chat(asked.payload)
            assert chat is not None
            [child] = embedded._children.latest.values()
            assert await _tokenized(child.voice._client, chat) == by_route


async def test_the_real_model_follows_a_schema(embedded: ManagedTarget) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["n"]}
    asked = call("Give a number.", model=NAME, format=schema, options={"num_predict": 40})
    with trio.fail_after(120):
        text = joined(asked, await chunks_of(embedded, asked))["message"]["content"]
    assert '"n"' in text


def test_what_is_missing_is_one_line_with_the_remedy() -> None:
    argv = ["--model", "/no/such/file.gguf"]
    done = subprocess.run([*ENGINE, *argv], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "give the path of one, or smollm2" in done.stderr


async def test_the_real_model_embeds_in_a_child_beside_the_one_that_chats(embedded: ManagedTarget) -> None:
    with trio.fail_after(120):
        await embedded.load(call(model=NAME))
        asked = call("ignored", "/api/embed", model=NAME)
        asked = structs.replace(asked, payload=b'{"model":"m","input":["a cat","a kitten","the tax law"]}')
        answer = joined(asked, await chunks_of(embedded, asked))
        cat, kitten, law = answer["embeddings"]
        assert answer["model"] == NAME and answer["prompt_eval_count"] > 5
        assert sum(x * x for x in cat) == pytest.approx(1, abs=1e-3)
        assert sum(map(operator.mul, cat, kitten)) > sum(map(operator.mul, cat, law))
        other = call("a cat", "/v1/embeddings", model=NAME)
        assert joined(other, await chunks_of(embedded, other))["data"][0]["embedding"] == pytest.approx(cat, abs=1e-2)
        assert embedded.is_loaded(NAME) and embedded.in_memory() == [NAME]
    [listed] = await embedded.models()
    assert listed.name == NAME and not listed.embedding


def test_the_default_is_a_managed_model_that_this_program_runs() -> None:
    models = [ManagedModel(**fields) for fields in engine.default_models()]
    assert [(model.name, model.embedding) for model in models] == [(NAME, False), (NAME, True)]
    assert all(model.command[:4] == [sys.executable, "-m", "foreman", "engine"] for model in models)


@pytest.mark.parametrize(("options", "batch"), [([], engine.BATCH), (["--embedding"], engine.DEFAULT_CONTEXT)])
def test_a_prompt_is_read_in_short_batches_and_a_text_for_embedding_in_one(options: list[str], batch: int) -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    found = engine._parameters(xllamacpp.CommonParams(), engine._parse(options), Path("model.gguf"))
    assert (found.n_batch, found.n_ubatch) == (batch, batch)


async def test_three_real_models_on_each_of_two_targets_with_room_for_two(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    options = ["--model", model_file.DEFAULT_MODEL, "--ctx", "256", "--threads", "1", "--alias", "{name}"]
    models = [ManagedModel(name=name, command=[*ENGINE, *options], memory=2**20) for name in "abc"]
    targets = [ManagedTarget(models, tmp_path, name=name, memory=2 * 2**20) for name in ("one", "two")]

    async def use(target: ManagedTarget) -> None:
        for names, loaded in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc")):
            chunks = await chunks_of(target, call("Hi", model=names, options={"num_predict": 2}))
            assert chunks[-1].last
            assert {model for model in "abc" if target.is_loaded(model)} == set(loaded)
            assert len(target._children.latest) <= 2

    with trio.fail_after(120):
        for target in targets:
            await nursery.start(target.run)
        async with trio.open_nursery() as both:
            for target in targets:
                both.start_soon(use, target)
