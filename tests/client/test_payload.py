"""What becomes of the arguments of a new job: where they go, and what is refused before anything is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from foreman.client import ArgumentInvalid, AsyncClient, Client, ClientError, typed
from foreman.client.payload import Fields, body_of
from foreman.domain.endpoints import ENDPOINTS
from tests.client.conftest import StaticAnswer
from tests.client.test_extract import Colour

PNG = b"\x89PNG\r\n"
PNG_TEXT = "iVBORw0K"
VALUES: dict[str, Any] = {"stop": "here", "images": [PNG], "messages": [{"role": "user"}], "format": {"type": "object"}}
SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "p"}


@pytest.mark.parametrize(
    ("endpoint", "prompt"),
    [
        ("/api/chat", {"messages": [SYSTEM, USER]}),
        ("/api/generate", {"prompt": "p", "system": "s"}),
        ("/v1/chat/completions", {"messages": [SYSTEM, USER]}),
        ("/v1/completions", {"prompt": "s\n\np"}),
        ("/v1/responses", {"input": "p", "instructions": "s"}),
        ("/v1/messages", {"messages": [USER], "system": "s", "max_tokens": 4096}),
    ],
)
def test_a_prompt_is_put_the_way_its_endpoint_wants_it(endpoint: str, prompt: dict[str, Any]) -> None:
    body = body_of("m", "p", {"system": "s", "options": {"seed": 7}, "endpoint": endpoint})
    options = {"options": {"seed": 7}} if endpoint.startswith("/api/") else {"seed": 7}
    assert body == {"model": "m", **prompt, **options, "endpoint": endpoint}


@pytest.mark.parametrize("endpoint", ["/api/embed", "/v1/embeddings"])
def test_a_prompt_to_embed_is_its_input(endpoint: str) -> None:
    assert body_of("m", "p", {"endpoint": endpoint, "dimensions": 8}) == {
        "model": "m",
        "input": "p",
        "dimensions": 8,
        "endpoint": endpoint,
    }


@pytest.mark.parametrize(
    ("endpoint", "conversation"),
    [
        ("/api/chat", {"messages": [SYSTEM, {"role": "user", "content": "before"}, USER]}),
        ("/v1/messages", {"system": "s", "messages": [{"role": "user", "content": "before"}, USER]}),
        ("/v1/responses", {"instructions": "s", "input": [{"role": "user", "content": "before"}, USER]}),
    ],
)
def test_a_prompt_goes_on_with_a_conversation(endpoint: str, conversation: dict[str, Any]) -> None:
    before = [{"role": "user", "content": "before"}]
    body = body_of("m", "p", {"system": "s", "messages": before, "endpoint": endpoint})
    assert body.items() >= conversation.items()
    assert before == [{"role": "user", "content": "before"}]


@pytest.mark.parametrize(
    ("endpoint", "place", "shown"),
    [
        ("/api/chat", "messages", [USER | {"images": [PNG_TEXT]}]),
        ("/api/generate", "images", [PNG_TEXT]),
        (
            "/v1/chat/completions",
            "messages",
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "p"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_TEXT}"}},
                    ],
                }
            ],
        ),
        (
            "/v1/responses",
            "input",
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "p"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG_TEXT}"},
                    ],
                }
            ],
        ),
        (
            "/v1/messages",
            "messages",
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG_TEXT},
                        },
                        {"type": "text", "text": "p"},
                    ],
                }
            ],
        ),
    ],
)
@pytest.mark.parametrize("given", [PNG, PNG_TEXT, f"data:image/png;base64,{PNG_TEXT}"])
def test_images_are_shown_with_the_prompt(endpoint: str, place: str, shown: Any, given: bytes | str) -> None:
    assert body_of("m", "p", {"images": [given], "endpoint": endpoint})[place] == shown


@pytest.mark.parametrize(
    ("endpoint", "placed"),
    [
        ("/api/chat", {"options": {"temperature": 0, "num_predict": 9, "stop": ["."]}}),
        ("/api/generate", {"options": {"temperature": 0, "num_predict": 9, "stop": ["."]}}),
        ("/v1/chat/completions", {"temperature": 0, "max_tokens": 9, "stop": ["."]}),
        ("/v1/completions", {"temperature": 0, "max_tokens": 9, "stop": ["."]}),
        ("/v1/responses", {"temperature": 0, "max_output_tokens": 9, "stop": ["."]}),
        ("/v1/messages", {"temperature": 0, "max_tokens": 9, "stop_sequences": ["."]}),
    ],
)
def test_how_it_is_sampled_goes_where_its_endpoint_looks_for_it(endpoint: str, placed: dict[str, Any]) -> None:
    body = body_of("m", "p", {"temperature": 0, "max_tokens": 9, "stop": ".", "endpoint": endpoint})
    assert body.items() >= placed.items()


def test_a_schema_goes_where_its_endpoint_looks_for_it() -> None:
    schema = typed.schema_of(Colour)

    def asked(endpoint: str, name: str) -> Any:
        return body_of("m", "p", {"format": schema, "endpoint": endpoint})[name]

    named = {"name": "Colour", "schema": schema, "strict": True}
    assert asked("/api/chat", "format") == asked("/api/generate", "format") == schema
    assert asked("/v1/chat/completions", "response_format") == {"type": "json_schema", "json_schema": named}
    assert asked("/v1/responses", "text") == {"format": {"type": "json_schema", **named}}
    any_json: Fields = {"format": "json", "endpoint": "/v1/chat/completions"}
    assert body_of("m", "p", any_json)["response_format"] == {"type": "json_object"}


def test_what_is_extra_reaches_the_model_as_it_is_and_wins() -> None:
    body = body_of("m", "p", {"extra": {"messages": [], "stream": False, "odd": None}, "payload": {"old": 1}})
    assert body == {"model": "m", "messages": [], "stream": False, "odd": None, "old": 1}


def test_none_is_the_same_as_not_given() -> None:
    empty: Fields = dict.fromkeys(Fields.__annotations__)  # type: ignore[assignment]
    assert body_of("m", None, empty) == {"model": "m"}


def test_a_conversation_of_nothing_is_sent_for_it_loads_the_model() -> None:
    assert body_of("m", None, {"messages": []}) == {"model": "m", "messages": []}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint": "/v1/completions", "messages": []}, "/v1/completions has no place for 'messages'"),
        ({"endpoint": "/api/embed", "system": "s"}, "/api/embed has no place for 'system'"),
        ({"endpoint": "/v1/chat/completions", "think": True}, "/v1/chat/completions has no place for 'think'"),
        ({"endpoint": "/v1/completions", "format": "json"}, "/v1/completions has no place for 'format'"),
        ({"input": "x"}, "/api/chat has no place for 'input'"),
        ({"temperature": 0, "options": {"temperature": 1}}, "'temperature' is given twice"),
        ({"endpoint": "/api/embed", "input": "x"}, "'input' is given twice"),
        ({"endpoint": "/v1/responses", "max_tokens": 1, "max_output_tokens": 2}, "'max_output_tokens' is given twice"),
    ],
)
def test_what_has_no_place_is_refused(fields: Any, said: str) -> None:
    with pytest.raises(ArgumentInvalid, match=said):
        body_of("m", "p", fields)


def test_images_without_a_prompt_are_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="images are given without a prompt"):
        body_of("m", None, {"messages": [USER], "images": [PNG]})


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_argument_has_a_place_or_is_refused(endpoint: str) -> None:
    """None is dropped without a word."""
    refused = set()
    for name in Fields.__annotations__.keys() - {"endpoint", "priority", "extra", "payload", "options"}:
        fields: Any = {"endpoint": endpoint, name: VALUES.get(name, "told")}
        try:
            body = body_of("m", "p", fields)
        except ArgumentInvalid:
            refused.add(name)
        else:
            assert any(word in json.dumps(body) for word in ("told", "here", PNG_TEXT, '"object"', '{"role"'))
    assert refused


def test_an_endpoint_of_a_newer_foreman_gets_everything_by_its_name() -> None:
    body = body_of("m", None, {"endpoint": "/v1/rerank", "input": "x", "n": 3})
    assert body == {"model": "m", "input": "x", "n": 3, "endpoint": "/v1/rerank"}


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda client: client.submit("m", "x", prio="high"),
        r"submit\(\) .* 'prio': did you mean 'priority'\? Else",
    ),
    (lambda client: client.run("m", "x", max_atempts=1), r"run\(\) .* 'max_atempts': did you mean 'max_attempts'\?"),
    (lambda client: client.run_as(Colour, "m", "x", temprature=0), r"run_as\(\) .*: did you mean 'temperature'\?"),
    (lambda client: client.submit("m", "x", num_predict=9), r"submit\(\) .* 'num_predict': options of the model go in"),
    (lambda client: client.stream("J1", retry_fro=3), r"stream\(\) .* 'retry_fro': did you mean 'retry_for'\?$"),
    (lambda client: client.submit_many([], zzz=1), r"submit_many\(\) takes no argument 'zzz'$"),
    (lambda client: client.submit_parts([], line=1), r"submit_parts\(\) .* 'line': did you mean 'lines'\?$"),
    (lambda client: client.jobs(modle="m"), r"jobs\(\) .* 'modle': did you mean 'model'\?$"),
    (lambda client: client.wait("J1", witihn=3), r"wait\(\) .* 'witihn': did you mean 'within'\?$"),
    (lambda client: client.feed(sate=["done"]), r"feed\(\) .* 'sate': did you mean 'state'\?$"),
]


@pytest.mark.parametrize(("call", "said"), WRONG)
def test_a_name_that_is_no_argument_is_refused_before_anything_is_sent(
    told: StaticAnswer, call: Callable[[Any], Any], said: str
) -> None:
    with Client() as client, pytest.raises(ClientError) as caught:
        call(client)
    assert isinstance(caught.value, TypeError)
    assert re.match(said, str(caught.value))

    async def on_an_event_loop() -> None:
        async with AsyncClient() as client:
            with pytest.raises(ArgumentInvalid) as caught:
                await call(client)
        assert re.match(said, str(caught.value))

    anyio.run(on_an_event_loop)
    assert told.asked == []


def test_nor_is_a_client_made_with_one() -> None:
    with pytest.raises(ArgumentInvalid, match=r"Client\(\) takes no argument 'tokn': did you mean 'token'\?"):
        Client(tokn="x")  # type: ignore[call-arg]
