"""Background responses by the official SDK: made, followed, taken up again, cancelled and deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.support.foreman import Daemon, Upstream, an_upstream, until

Start = Callable[..., Daemon]
OPENING = ["response.created", "response.queued", "response.in_progress"]
ANSWER = [
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * 3,
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
SLOWLY = "#chunks=30 #every=0.03"
TEXT = "".join(f"w{n} " for n in range(30))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings: dict[str, Any] = {"ollama_url": upstream.url, "retry_backoff": 0.01, "slots": 4}
    with Daemon(tmp_path_factory.mktemp("background") / "data", **settings) as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def client(shared: Daemon) -> Iterator[Any]:
    with sdk(shared) as client:
        yield client


def sdk(daemon: Daemon, token: str = "unused") -> Any:
    """The client; what it gives is of too many types to be told apart here."""
    http = httpx2.Client(trust_env=False)
    return openai.OpenAI(
        base_url=f"{daemon.url}/v1",
        api_key=token,
        max_retries=0,
        timeout=60,
        http_client=http,
        _strict_response_validation=True,
    )


def is_whole(event: Any) -> bool:
    return event.type in ("response.created", "response.in_progress", "response.completed")


def ended(client: Any, response_id: str) -> Any:
    def look() -> Any:
        found = client.responses.retrieve(response_id)
        return found if found.status not in ("queued", "in_progress") else None

    return until(look)


def job_path(response_id: str) -> str:
    return f"/jobs/{response_id.removeprefix('resp_')}"


def kinds(events: list[Any]) -> list[str]:
    return [event.type for event in events]


def numbers(events: list[Any]) -> list[int]:
    return [event.sequence_number for event in events]


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def begun(client: Any, text: str, chunks: int = 5) -> list[Any]:
    """The events of a new background response up to so many chunks; then its reader is gone."""
    seen: list[Any] = []
    with client.responses.create(model="a", input=text, background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if kinds(seen).count("response.output_text.delta") == chunks:
                break
    return seen


def test_a_background_response_is_answered_at_once_and_ends_without_its_caller(client: Any, shared: Daemon) -> None:
    made = client.responses.create(model="a", input="hello", background=True, temperature=0.5)
    assert (made.status, made.background, made.output, made.temperature) == ("queued", True, [], 0.5)
    done = ended(client, made.id)
    assert (done.id, done.status, done.background, done.output_text) == (made.id, "completed", True, "w0 w1 w2 ")
    assert (done.created_at, done.error, done.tools, done.temperature) == (made.created_at, None, [], 0.5)
    assert done.completed_at >= done.created_at
    job = shared.http.get(job_path(made.id)).json()
    assert (job["priority"], job["result"]["id"]) == ("normal", made.id)


def test_nothing_that_is_foremans_goes_to_the_target(client: Any, upstream: Upstream) -> None:
    options: Any = {"completion_window": "2h"}
    made = client.responses.create(
        model="a", input="stripped", background=True, store=True, extra_body={"background_options": options}
    )
    ended(client, made.id)
    [asked] = upstream.asked("stripped")
    assert asked["payload"] == {"model": "a", "input": "stripped", "stream": True}


def test_a_background_stream_has_every_event_in_foremans_name_and_order(client: Any) -> None:
    with client.responses.stream(model="a", input="all of it", background=True) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert kinds(events) == OPENING + ANSWER
    assert numbers(events) == list(range(len(events)))
    assert [event.response.status for event in events[:3]] == ["queued", "queued", "in_progress"]
    assert {event.response.id for event in events if hasattr(event, "response")} == {final.id}
    assert final.output_text == "w0 w1 w2 "


def test_a_stream_that_broke_off_is_taken_up_again_by_its_number(client: Any) -> None:
    seen = begun(client, f"broken {SLOWLY}")
    response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    assert numbers(seen + rest) == list(range(len(seen + rest)))
    assert (text_of(seen + rest), rest[-1].type) == (TEXT, "response.completed")


def test_it_is_taken_up_again_when_the_answer_is_long_there(client: Any) -> None:
    seen = begun(client, f"long there {SLOWLY}")
    response_id = seen[0].response.id
    ended(client, response_id)
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    again = list(client.responses.retrieve(response_id, stream=True))
    assert numbers(again) == numbers(seen + rest) == list(range(len(again)))
    assert kinds(again) == kinds(seen + rest)
    assert text_of(again) == text_of(seen + rest) == TEXT


def test_the_events_of_a_long_answer_are_kept_too(client: Any, shared: Daemon) -> None:
    """Beyond 1 MiB they are a file of their own."""
    events = list(client.responses.create(model="a", input="long #chunks=9000", background=True, stream=True))
    response_id = events[0].response.id
    sizes = {one["name"]: one["size"] for one in shared.http.get(job_path(response_id)).json()["artifacts"]}
    assert sizes["events"] > 2**20
    again = list(client.responses.retrieve(response_id, stream=True, starting_after=100))
    assert (numbers(again), text_of(again)) == (numbers(events)[101:], text_of(events[101:]))


def test_the_sdks_own_stream_takes_it_up_again(client: Any) -> None:
    seen = begun(client, f"helper {SLOWLY}")
    last = seen[-1].sequence_number
    with client.responses.stream(response_id=seen[0].response.id, starting_after=last) as stream:
        rest = list(stream)
        final = stream.get_final_response()
    assert numbers(rest) == list(range(last + 1, last + 1 + len(rest)))
    assert (text_of(seen + rest), final.output_text) == (TEXT, TEXT)


def test_over_a_kill_there_are_lifecycle_events_and_then_the_answer(serve: Start, upstream: Upstream) -> None:
    daemon = serve(ollama_url=upstream.url)
    with sdk(daemon) as client:
        seen = begun(client, f"killed {SLOWLY}")
        response_id, last = seen[0].response.id, seen[-1].sequence_number
    daemon.kill()
    daemon.start()
    with sdk(daemon) as client:
        rest = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
        assert numbers(rest) == sorted({*numbers(rest)}) and numbers(rest)[0] > last
        assert kinds(rest)[:2] == ["response.in_progress", "response.output_item.added"]
        assert (text_of(rest), rest[-1].type, rest[-1].response.output_text) == (TEXT, "response.completed", TEXT)
        assert rest[-1].response.id == response_id
        with client.responses.stream(response_id=response_id, starting_after=last) as stream:
            again = list(stream)
            assert stream.get_final_response().output_text == TEXT
        assert kinds(again) == kinds(rest)


def test_an_attempt_that_broke_off_ends_the_stream_and_the_next_is_told_from_its_start(
    client: Any,
) -> None:
    """So that no reader adds up the words of two attempts; the numbers go on without a gap."""
    seen = list(client.responses.create(model="a", input="#break=1 #cut=6 twice", background=True, stream=True))
    assert (kinds(seen)[-1], text_of(seen)) == ("response.output_text.delta", "w0 w1 ")
    response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=numbers(seen)[-1]))
    assert numbers(seen + rest) == list(range(len(seen + rest)))
    assert kinds(rest) == ["response.in_progress", *ANSWER]
    with client.responses.stream(response_id=response_id) as stream:
        again = list(stream)
        assert stream.get_final_response().output_text == "w0 w1 w2 "
    assert numbers(again) == list(range(len(again)))


def test_an_attempt_that_failed_unheard_is_not_noticed(client: Any) -> None:
    events = list(client.responses.create(model="a", input="unheard #break=1", background=True, stream=True))
    assert numbers(events) == list(range(len(events)))
    assert [kind for kind in kinds(events) if kind != "response.in_progress"] == OPENING[:2] + ANSWER


def test_a_response_without_a_stream_tells_its_answer_when_it_is_whole(client: Any) -> None:
    made = client.responses.create(model="a", input="whole #chunks=4 #every=0.05", background=True)
    events = list(client.responses.retrieve(made.id, stream=True))
    assert numbers(events) == list(range(len(events)))
    assert kinds(events) == OPENING + [kind for n, kind in enumerate(ANSWER) if n not in (3, 4)]
    assert text_of(events) == "w0 w1 w2 w3 "
    again = list(client.responses.retrieve(made.id, stream=True, starting_after=4))
    assert numbers(again) == numbers(events)[5:]


def test_an_ordinary_response_can_be_read_and_followed_too(client: Any) -> None:
    made = client.responses.create(model="a", input="ordinary")
    assert made.id.startswith("resp_")
    found = client.responses.retrieve(made.id)
    assert (found.id, found.status, found.output_text) == (made.id, "completed", made.output_text)
    assert (found.background, found.tools, found.parallel_tool_calls) == (False, [], True)
    assert kinds(list(client.responses.retrieve(made.id, stream=True)))[-1] == "response.completed"
    streamed = list(client.responses.create(model="a", input="ordinary too", stream=True))
    ids = {event.response.id for event in streamed if hasattr(event, "response")}
    [response_id] = ids
    assert client.responses.retrieve(response_id).output_text == "w0 w1 w2 "


def test_an_answer_that_was_cut_off_is_incomplete(client: Any) -> None:
    events = list(client.responses.create(model="a", input="#cut=6", background=True, stream=True))
    assert (events[-1].type, numbers(events)) == ("response.incomplete", list(range(len(events))))
    found = client.responses.retrieve(events[0].response.id)
    assert (found.status, found.output_text) == ("incomplete", "w0 w1 ")


def test_a_response_that_failed_says_why(client: Any) -> None:
    events = list(client.responses.create(model="a", input="#status=400 bad", background=True, stream=True))
    assert (events[-1].type, numbers(events)) == ("response.failed", list(range(len(events))))
    found = client.responses.retrieve(events[0].response.id)
    assert (found.status, found.error and found.error.code) == ("failed", "server_error")
    assert "told to by" in str(found.error)
    again = list(client.responses.retrieve(found.id, stream=True))
    assert (kinds(again), numbers(again)) == (kinds(events), numbers(events))


def test_a_response_is_cancelled_once_and_may_be_again(client: Any, shared: Daemon) -> None:
    seen = begun(client, f"cancelled {SLOWLY}")
    response_id = seen[0].response.id
    assert client.responses.cancel(response_id).status == "cancelled"
    again = client.responses.cancel(response_id)
    assert (again.status, again.id, again.error) == ("cancelled", response_id, None)
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    assert (rest[-1].type, rest[-1].response.status) == ("response.failed", "cancelled")
    assert shared.http.get(job_path(response_id)).json()["state"] == "cancelled"


def test_a_response_that_has_ended_stays_as_it_is_when_cancelled(client: Any) -> None:
    made = client.responses.create(model="a", input="too late", background=True)
    ended(client, made.id)
    assert client.responses.cancel(made.id).status == "completed"


def test_only_a_background_response_can_be_cancelled(client: Any) -> None:
    made = client.responses.create(model="a", input="in the foreground")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)


@pytest.mark.parametrize("text", ["deleted", f"deleted early {SLOWLY}"])
def test_a_deleted_response_is_gone(client: Any, shared: Daemon, text: str) -> None:
    made = client.responses.create(model="a", input=text, background=True)
    answer = client.responses.with_raw_response.delete(made.id)
    assert answer.http_response.json() == {"id": made.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    assert shared.http.get(job_path(made.id)).status_code == 404


@pytest.mark.parametrize("given", ["resp_1", "resp_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "r%2F..", "input_tokens"])
def test_a_response_that_never_was_is_not_found(client: Any, given: str) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(given)


def test_a_response_that_is_not_stored_leaves_nothing_behind(client: Any, shared: Daemon) -> None:
    made = client.responses.create(model="a", input="forgotten", store=False)
    assert (made.output_text, made.store) == ("w0 w1 w2 ", False)
    streamed = list(client.responses.create(model="a", input="forgotten too", store=False, stream=True))
    large = client.responses.create(model="a", input="forgotten, and large #chunks=20000", store=False)
    assert len(large.output_text) > 100_000
    failing = "forgotten, and bad #status=400"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="a", input=failing, store=False)
    for response_id in (made.id, streamed[0].response.id, large.id):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response_id)
        with pytest.raises(openai.BadRequestError, match="not found"):
            client.responses.create(model="a", input="go on", previous_response_id=response_id)
        until(lambda: shared.http.get(job_path(response_id)).status_code == 404)  # noqa: B023
    jobs = shared.http.get("/jobs", params={"limit": 5}).json()["jobs"]
    asked = [shared.http.get(f"/jobs/{job['job_id']}/request").text for job in jobs]
    assert not any(failing in text for text in asked)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True, "store": False}, "store"),
        ({"background": "yes"}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"previous_response_id": 1}, "previous_response_id"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"background": True, "background_options": {"completion_window": "1h"}}, "background_options"),
        ({"background": True, "background_options": "2h"}, "background_options"),
    ],
)
def test_what_foreman_cannot_do_is_refused_by_its_name(client: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="a", input="no", extra_body=fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "headers", "priority", "tier"),
    [
        ({"background": True}, {}, "normal", "default"),
        ({}, {}, "high", "default"),
        ({"service_tier": "auto"}, {}, "high", "default"),
        ({"service_tier": "flex"}, {}, "low", "flex"),
        ({"background": True, "service_tier": "priority"}, {}, "high", "priority"),
        ({"background": True, "service_tier": "fast"}, {}, "high", "fast"),
        ({"service_tier": "flex"}, {"X-Foreman-Priority": "normal"}, "normal", "default"),
        ({"background": True, "background_options": {"completion_window": "8h"}}, {}, "low", "flex"),
        ({"background": True, "background_options": {"completion_window": "soonest"}}, {}, "normal", "default"),
    ],
)
def test_the_service_tier_is_a_priority_class_and_the_answer_names_it(
    client: Any, shared: Daemon, fields: Any, headers: dict[str, str], priority: str, tier: str
) -> None:
    made = client.responses.create(model="a", input="tiers", extra_body=fields, extra_headers=headers)
    done = ended(client, made.id)
    assert (made.service_tier or "default", done.service_tier) == (tier, tier)
    assert shared.http.get(job_path(made.id)).json()["priority"] == priority


def test_the_tier_and_the_metadata_of_a_chat_are_its_jobs_too(client: Any, shared: Daemon) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="a",
        messages=[{"role": "user", "content": "hello"}],
        service_tier="flex",
        metadata={"project": "colours"},
    )
    job = shared.http.get(f"/jobs/{raw.headers['x-foreman-job-id']}").json()
    assert (job["priority"], job["metadata"]) == ("low", {"project": "colours"})
    assert raw.parse().service_tier == "flex"


@pytest.mark.parametrize("plain", ["", " #plain"])
@pytest.mark.parametrize(
    ("asked", "headers", "tier"),
    [
        ({}, {}, None),
        ({"service_tier": None}, {}, None),
        ({"service_tier": "auto"}, {}, "default"),
        ({"service_tier": "priority"}, {}, "priority"),
        ({"service_tier": "flex"}, {"X-Foreman-Priority": "normal"}, "default"),
    ],
)
def test_a_chat_that_names_a_tier_is_told_which_it_had(
    client: Any, asked: Any, headers: dict[str, str], tier: str | None, plain: str
) -> None:
    fields = {"model": "a", "messages": [{"role": "user", "content": f"tiers{plain}"}]}
    more = {"extra_body": asked, "extra_headers": headers}
    said = client.chat.completions.create(**fields, **more)
    assert (said.service_tier, said.choices[0].message.content) == (tier, "w0 w1 w2 ")
    counted = {"stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**fields, **more, **counted, stream=True))
    assert {chunk.service_tier for chunk in chunks} == {tier}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "w0 w1 w2 "
    assert chunks[-1].usage.total_tokens > 0


def test_a_response_has_what_every_response_has_where_its_target_leaves_it_out(client: Any, shared: Daemon) -> None:
    """Strict clients refuse it otherwise; llama.cpp leaves out three of these."""
    tools = [{"type": "function", "name": "look", "parameters": {}, "strict": True}]
    before = int(time.time())
    asked = {"model": "a", "input": "whole", "tools": tools, "parallel_tool_calls": False}
    answers = [
        shared.http.post("/v1/responses", json=asked).json(),
        *(event.response.to_dict() for event in client.responses.create(**asked, stream=True) if is_whole(event)),
    ]
    for answer in answers:
        assert before <= answer["created_at"] <= time.time()
        assert (answer["tools"], answer["tool_choice"], answer["parallel_tool_calls"]) == (tools, "auto", False)


def test_metadata_are_the_jobs_and_the_answer_repeats_them_with_what_else_was_given(
    client: Any, shared: Daemon
) -> None:
    made = client.responses.create(
        model="a",
        input="named",
        background=True,
        metadata={"project": "colours"},
        user="ann",
        prompt_cache_key="colours",
        safety_identifier="ann-1",
    )
    done = ended(client, made.id)
    for one in (made, done):
        assert one.metadata == {"project": "colours"}
        assert (one.user, one.prompt_cache_key, one.safety_identifier) == ("ann", "colours", "ann-1")
    job = shared.http.get(job_path(made.id)).json()
    assert (job["metadata"], job["caller"]) == ({"project": "colours"}, "ann-1")


def test_a_repeated_request_with_its_key_is_the_same_response(client: Any) -> None:
    def ask(text: str = "once") -> Any:
        key = {"Idempotency-Key": "the-only-one"}
        return client.responses.create(model="a", input=text, background=True, extra_headers=key)

    first = ask()
    ended(client, first.id)
    again = ask()
    assert (again.id, again.status) == (first.id, "completed")
    with pytest.raises(openai.BadRequestError):
        ask("another")


def test_a_job_that_was_submitted_for_the_endpoint_is_a_response(client: Any, shared: Daemon) -> None:
    body = {"model": "a", "endpoint": "/v1/responses", "input": "as a job", "metadata": {"a": "b"}}
    job_id = shared.http.post("/jobs", json=body).json()["job_id"]
    done = ended(client, f"resp_{job_id}")
    assert (done.output_text, done.metadata, done.background) == ("w0 w1 w2 ", {"a": "b"}, False)
    other = shared.http.post("/jobs", json={"model": "a", "messages": [{"role": "user", "content": "hi"}]}).json()
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(f"resp_{other['job_id']}")
