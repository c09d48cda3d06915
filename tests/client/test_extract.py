"""What is found in answers of each shape, and what is asked for an answer of a type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel

from foreman.client import Job, NotTheShape, ToolCall, Usage, typed
from foreman.client.extract import embeddings_of, tool_calls_of, usage_of

PLAIN = {"job_id": "0" * 26, "state": "done", "model": "a", "created_at": "2030-01-31T18:00:00Z"}
CALL = ToolCall("add", {"a": 1})


@dataclass
class Colour:
    name: str


class Colours(TypedDict):
    colours: list[Colour]


class Model(BaseModel):
    name: str


@pytest.mark.parametrize(
    "answer",
    [
        {"message": {"tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "add", "arguments": '{"a":1}'}}]}}]},
        {"output": [{"type": "reasoning"}, {"type": "function_call", "name": "add", "arguments": '{"a":1}'}]},
        {"type": "message", "content": [{"type": "text"}, {"type": "tool_use", "name": "add", "input": {"a": 1}}]},
    ],
)
def test_calls_of_tools_are_found_in_every_shape(answer: Any) -> None:
    assert tool_calls_of(answer) == [CALL]


def test_arguments_that_are_no_object_are_not_lost() -> None:
    answer = {"message": {"tool_calls": [{"function": {"name": "add", "arguments": "{a"}}]}}
    assert tool_calls_of(answer) == [ToolCall("add", {"": "{a"})]
    assert tool_calls_of(None) == []


def test_vectors_are_found_in_both_shapes() -> None:
    assert embeddings_of({"embeddings": [[1.0], [2.0]]}) == [[1.0], [2.0]]
    assert embeddings_of({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}) == [[1.0], [2.0]]
    assert embeddings_of({"message": {}}) == []


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"prompt_eval_count": 3, "eval_count": 4}, Usage(3, 4)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, Usage(3, 4)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, Usage(3, 4)),
        (None, Usage()),
    ],
)
def test_tokens_are_counted_in_every_shape(answer: Any, usage: Usage) -> None:
    assert usage_of(answer) == usage


def test_a_type_has_a_schema_of_its_own() -> None:
    schema = typed.schema_of(Colour)
    assert (schema["type"], schema["title"]) == ("object", "Colour")
    assert schema["properties"] == {"name": {"type": "string"}}
    assert typed.schema_of(Model)["properties"]["name"]["type"] == "string"


def test_an_answer_is_read_as_its_type_or_is_a_fault() -> None:
    assert typed.read(Colours, '{"colours": [{"name": "red"}]}') == {"colours": [Colour("red")]}
    assert typed.read(list[int], "[1]") == [1]
    assert typed.read(Model, '{"name": "red"}') == Model(name="red")
    for kind in (Colour, Model):
        with pytest.raises(NotTheShape, match=f"not a valid {kind.__name__}") as caught:
            typed.read(kind, '{"nam')
        assert caught.value.text == '{"nam'


def test_arguments_nested_too_deeply_are_shown_as_they_are() -> None:
    nested = "[" * 5000
    said = {"message": {"tool_calls": [{"function": {"name": "f", "arguments": nested}}]}}
    assert tool_calls_of(said)[0].arguments == {"": nested}


def test_what_foreman_tells_of_an_answer_goes_first() -> None:
    job = msgspec.convert(
        {**PLAIN, "usage": {"prompt_tokens": 3, "answer_tokens": None, "first_token_seconds": 0.5}}, Job
    )
    assert job.usage == Usage(3, 0, 0, 0.5, None)
    assert msgspec.convert({**PLAIN, "result": {"eval_count": 4}}, Job).usage == Usage(0, 4)
