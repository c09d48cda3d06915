"""Responses that continue others: the target, which keeps none, gets the whole conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from foreman.domain.responses.conversation import MOST_ITEMS
from tests.support.foreman import Daemon, Upstream, an_upstream, until

TOOLS: Any = [{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("conversations") / "data"
    with Daemon(folder, ollama_url=upstream.url, slots=4, max_body="64 KiB", token="ann:one,bob:two") as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def client(shared: Daemon) -> Iterator[Any]:
    with sdk(shared, "one") as client:
        yield client


def sdk(daemon: Daemon, token: str) -> Any:
    http = httpx2.Client(trust_env=False)
    return openai.OpenAI(base_url=f"{daemon.url}/v1", api_key=token, max_retries=0, timeout=60, http_client=http)


def heard(upstream: Upstream, text: str) -> Any:
    """The input that the target got last with these words in it."""
    return upstream.asked(text)[-1]["payload"]["input"]


def said(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who said what, of messages."""
    return [
        (item["role"], text if isinstance(text := item["content"], str) else text[0]["text"])
        for item in items
        if item["type"] == "message"
    ]


def test_a_target_that_would_have_forgotten_gets_the_whole_conversation(client: Any, upstream: Upstream) -> None:
    first = client.responses.create(model="a", input="one #echo", instructions="Be brief.")
    second = client.responses.create(model="a", input="two #echo", previous_response_id=first.id)
    third = client.responses.create(model="a", input="three #echo", previous_response_id=second.id, background=True)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    until(lambda: client.responses.retrieve(third.id).status == "completed")
    [*before, last] = said(heard(upstream, "three"))
    assert before == [
        ("user", "one #echo"),
        ("assistant", "one #echo "),
        ("user", "two #echo"),
        ("assistant", "two #echo "),
    ]
    assert last == ("user", "three #echo")
    asked = upstream.asked("three")[-1]["payload"]
    assert {*asked} == {"model", "input", "stream"}, "neither the instructions nor what is Foreman's"


def test_a_turn_that_was_streamed_can_be_continued_at_once(client: Any, upstream: Upstream) -> None:
    for background in (False, True):
        text = f"streamed {background}"
        *_, last = client.responses.create(model="a", input=text, stream=True, background=background)
        client.responses.create(model="a", input=f"after {text}", previous_response_id=last.response.id)
        assert said(heard(upstream, f"after {text}"))[0] == ("user", text)


def test_tool_calls_and_what_came_of_them_are_kept(client: Any, upstream: Upstream) -> None:
    first = client.responses.create(model="a", input="#tool weather?", tools=TOOLS)
    [call] = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(model="a", input=[output], tools=TOOLS, previous_response_id=first.id)
    client.responses.create(model="a", input="thanks for the weather", previous_response_id=second.id)
    kinds = [(item["type"], item.get("call_id")) for item in heard(upstream, "thanks for the weather")]
    assert kinds == [
        ("message", None),
        ("message", None),
        ("function_call", call.call_id),
        ("function_call_output", call.call_id),
        ("message", None),
        ("message", None),
    ]


def test_a_conversation_outlives_its_turns(client: Any, upstream: Upstream) -> None:
    """Each turn has those before it: deleting one, or its expiry, takes nothing from those after it."""
    first = client.responses.create(model="a", input="soon gone")
    second = client.responses.create(model="a", input="second of it", previous_response_id=first.id)
    client.responses.delete(first.id)
    client.responses.create(model="a", input="third of it", previous_response_id=second.id)
    assert said(heard(upstream, "third of it"))[0] == ("user", "soon gone")
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="a", input="another", previous_response_id=first.id)


def test_the_items_of_the_input_are_listed_in_pages(client: Any) -> None:
    parts = [{"type": "input_text", "text": "in parts"}]
    first = client.responses.create(model="a", input=[{"role": "user", "content": parts}])
    second = client.responses.create(model="a", input="a text", previous_response_id=first.id)
    third = client.responses.create(model="a", input="more", previous_response_id=second.id)
    pages = client.responses.input_items.list(third.id, order="asc", limit=2)
    items = list(pages)
    assert [(item.role, item.content[0].type, item.content[0].text) for item in items] == [
        ("user", "input_text", "in parts"),
        ("assistant", "output_text", "w0 w1 w2 "),
        ("user", "input_text", "a text"),
        ("assistant", "output_text", "w0 w1 w2 "),
        ("user", "input_text", "more"),
    ]
    assert len({item.id for item in items}) == 5
    assert (pages.has_more, pages.first_id, pages.last_id) == (True, items[0].id, items[1].id)
    newest = client.responses.input_items.list(third.id, include=["message.input_image.image_url"])
    assert [item.id for item in newest] == [item.id for item in reversed(items)]
    for wrong in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_1"}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.input_items.list(third.id, **wrong)
        assert caught.value.param in wrong


def test_a_response_that_is_missing_is_told_in_openais_words(client: Any) -> None:
    missing = "resp_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="a", input="hello", previous_response_id=missing)
    assert caught.value.body == {
        "message": f"Previous response with id '{missing}' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    for other in ("resp_abc", "chatcmpl-1", ""):
        with pytest.raises(openai.BadRequestError, match="not found"):
            client.responses.create(model="a", input="hello", previous_response_id=other)


def test_a_response_of_another_caller_cannot_be_continued(client: Any, shared: Daemon) -> None:
    mine = client.responses.create(model="a", input="mine")
    with sdk(shared, "two") as bob, pytest.raises(openai.BadRequestError, match="not found"):
        bob.responses.create(model="a", input="his", previous_response_id=mine.id)


@pytest.mark.parametrize(
    ("text", "status"), [("#silent", "in_progress"), ("#status=400", "failed"), ("#silent cancelled", "cancelled")]
)
def test_a_response_without_an_answer_cannot_be_continued(client: Any, text: str, status: str) -> None:
    made = client.responses.create(model="a", input=text, background=True)
    if status == "cancelled":
        client.responses.cancel(made.id)
    until(lambda: client.responses.retrieve(made.id).status == status)
    with pytest.raises(openai.BadRequestError, match=status) as caught:
        client.responses.create(model="a", input="and?", previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_unusable", "previous_response_id")
    client.responses.delete(made.id)


def test_a_conversation_has_a_largest_size(client: Any) -> None:
    long = client.responses.create(model="a", input="x" * 40_000)
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="a", input="y" * 40_000, previous_response_id=long.id)
    assert (caught.value.status_code, caught.value.code) == (413, "conversation_too_long")
    assert client.responses.create(model="a", input="short", previous_response_id=long.id).output_text == "w0 w1 w2 "


def test_an_input_of_too_many_items_is_never_parsed(client: Any, shared: Daemon) -> None:
    items: Any = [0] * (MOST_ITEMS + 1)
    made = client.responses.create(model="a", input=items, background=True)
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.input_items.list(made.id)
    assert (caught.value.status_code, caught.value.code) == (413, "conversation_too_long")
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="a", input="x", previous_response_id=answered(client, items))
    assert (caught.value.status_code, caught.value.code) == (413, "conversation_too_long")


def answered(client: Any, items: Any) -> str:
    made = client.responses.create(model="a", input=items)
    assert isinstance(made.id, str)
    return made.id


def test_a_job_continues_a_response_too(client: Any, shared: Daemon, upstream: Upstream) -> None:
    http = httpx2.Client(base_url=shared.url, headers={"Authorization": "Bearer one"}, trust_env=False, timeout=60)
    first = client.responses.create(model="a", input="first of the job")
    body = {"model": "a", "endpoint": "/v1/responses", "input": "the job", "previous_response_id": first.id}
    headers = {"Idempotency-Key": "job-key"}
    job = http.post("/jobs", json=body, headers=headers)
    assert job.status_code == 202, job.text
    job_id = job.json()["job_id"]
    until(lambda: http.get(f"/jobs/{job_id}").json()["state"] == "done")
    assert said(heard(upstream, "the job"))[0] == ("user", "first of the job")
    client.responses.delete(first.id)
    assert http.post("/jobs", json=body, headers=headers).json()["job_id"] == job_id
    refused = http.post("/jobs", json=body)
    assert (refused.status_code, refused.json()["code"]) == (400, "previous_response_not_found")
    lines = http.post(
        "/jobs",
        content="\n".join([json.dumps(body | {"previous_response_id": f"resp_{job_id}"}), json.dumps(body)]),
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    assert (lines["accepted"], [error["code"] for error in lines["errors"]]) == (1, ["previous_response_not_found"])
    http.close()


def test_the_tokens_of_the_whole_conversation_are_counted(client: Any, upstream: Upstream) -> None:
    first = client.responses.create(model="a", input="counted before")
    with pytest.raises(openai.APIStatusError):  # this target cannot count
        client.responses.input_tokens.count(model="a", input="counted after", previous_response_id=first.id)
    [asked] = [one for one in upstream.asked("counted after") if one["path"].endswith("/input_tokens")]
    assert said(asked["payload"]["input"])[0] == ("user", "counted before")
    assert "previous_response_id" not in asked["payload"]
