"""Agents by Pydantic AI and by OpenAI's SDK for agents, unmodified: background responses and conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import agents
import anthropic
import httpx2
import openai
import pydantic_ai
import pytest
from pydantic_ai.capabilities import BatchModelRequests
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.support.foreman import Daemon, Upstream, an_upstream

SLOWLY = "#chunks=20 #every=0.02"
TEXT = "".join(f"w{n} " for n in range(20))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("agents") / "data", ollama_url=upstream.url, max_attempts=1) as daemon:
        yield daemon
        assert daemon.errors == []


def with_client(daemon: Daemon, work: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> None:
    """Do the work on asyncio, which these libraries need."""

    async def run() -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            client: Any = http
            await work(openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key="unused", http_client=client))

    asyncio.run(run())


def test_a_pydantic_agent_runs_in_the_background_and_goes_on(daemon: Daemon, upstream: Upstream) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        model = OpenAIResponsesModel("a", provider=OpenAIProvider(openai_client=client))
        agent: Any = pydantic_ai.Agent(model)
        background = {"openai_background": True}
        first = await agent.run(f"in the background {SLOWLY}", model_settings=background)
        assert first.output == TEXT
        async with agent.run_stream(f"streamed there {SLOWLY}", model_settings=background) as stream:
            assert await stream.get_output() == TEXT
        history, previous = first.all_messages(), {"openai_previous_response_id": "auto"}
        await agent.run("and then?", message_history=history, model_settings=previous)

    before = daemon.http.get("/jobs").json()["jobs"]
    with_client(daemon, work)
    asked = upstream.asked("and then?")[-1]["payload"]["input"]
    assert [item["role"] for item in asked] == ["user", "assistant", "user"]
    made = daemon.http.get("/jobs").json()["jobs"]
    assert [job["state"] for job in made[: len(made) - len(before)]] == ["done"] * 3


def claude(daemon: Daemon, client: openai.AsyncOpenAI) -> AnthropicModel:
    """Return a model that has the other client's connections, which are closed in the end."""
    http: Any = client._client
    provider = AnthropicProvider(
        anthropic_client=anthropic.AsyncAnthropic(base_url=daemon.url, api_key="unused", http_client=http)
    )
    return AnthropicModel("a", provider=provider)


@pytest.mark.parametrize("by_anthropic", [False, True])
def test_requests_of_pydantic_agents_are_collected_in_batches(daemon: Daemon, by_anthropic: bool) -> None:
    """One that is refused fails its own run; one that failed otherwise is sent again, in another batch."""
    often = timedelta(milliseconds=50)

    async def work(client: openai.AsyncOpenAI) -> None:
        model = (
            claude(daemon, client)
            if by_anthropic
            else OpenAIResponsesModel("a", provider=OpenAIProvider(openai_client=client))
        )
        batches = BatchModelRequests(
            max_requests=4, max_wait=often, max_resubmissions=1, poll_interval=often, max_poll_interval=often
        )
        agent: Any = pydantic_ai.Agent(model, capabilities=[batches])
        texts = ("one #echo", "two #echo", "#status=400", "#status=500")
        async with batches:
            runs: list[Any] = await asyncio.gather(*map(agent.run, texts), return_exceptions=True)
        assert [run.output for run in runs[:2]] == ["one #echo ", "two #echo "]
        assert [getattr(error, "status_code", error) for error in runs[2:]] == [400, 500]

    with_client(daemon, work)
    kind, endpoint = ("anthropic", "/v1/messages") if by_anthropic else ("openai", "/v1/responses")
    made = [one for one in daemon.http.get("/batches").json()["batches"] if one["kind"] == kind]
    assert {(one["endpoint"], one["state"]) for one in made} == {(endpoint, "completed")}
    assert (sum(one["total"] for one in made), sum(one["done"] for one in made)) == (5, 2)


def test_an_agent_of_openais_sdk_has_a_conversation(daemon: Daemon, upstream: Upstream) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        agents.set_tracing_disabled(True)
        agent: Any = agents.Agent(
            name="brief", model=agents.OpenAIResponsesModel("a", client), instructions="Be brief."
        )
        first = await agents.Runner.run(agent, "alpha #echo")
        second = agents.Runner.run_streamed(agent, "beta #echo", previous_response_id=first.last_response_id)
        async for _ in second.stream_events():
            pass
        third = await agents.Runner.run(agent, "gamma #echo", previous_response_id=second.last_response_id)
        assert (first.final_output, second.final_output, third.final_output) == (
            "alpha #echo ",
            "beta #echo ",
            "gamma #echo ",
        )

    with_client(daemon, work)
    asked = upstream.asked("gamma")[-1]["payload"]
    assert [item["role"] for item in asked["input"]] == ["user", "assistant"] * 2 + ["user"]
    assert asked["instructions"] == "Be brief."
