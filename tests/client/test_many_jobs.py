"""Many jobs, one after the other: each stored once, as they end, found again, of a type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from foreman.client import AsyncClient, Client, ConnectFailed, NotFound, NotTheShape, Refused, payload_of
from foreman.client.many_operations import key_of
from tests.cli.conftest import TOKEN, App, an_app
from tests.client.conftest import StaticAnswer
from tests.client.test_many import event, hello
from tests.client.test_sync import JOB


@dataclass
class Colour:
    name: str


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("many")) as app:
        yield app


def colours(count: int) -> list[dict[str, Any]]:
    return [payload_of("a", f"{number}", custom_id=f"colour-{number}", format=Colour) for number in range(count)]


def test_a_program_started_again_doubles_nothing(app: App) -> None:
    with app.client() as client:
        first = [accepted.job_id for accepted in client.submit_once(colours(5))]
        again = [accepted.job_id for accepted in client.submit_once(colours(7))]
        assert again[:5] == first and len(set(again)) == 7
        found = client.find("colour-6")
        assert found is not None and found.job_id == again[6]
        assert client.find("colour-7") is None
        with pytest.raises(Refused) as caught:
            list(client.submit_once([payload_of("a", "other words", custom_id="colour-0")]))
        assert caught.value.code == "idempotency_mismatch"


def test_jobs_come_as_they_end_and_pages_are_fetched_by_themselves(app: App) -> None:
    with app.client() as client:
        ended = {client.run("a", "x").job_id for _ in range(3)}
        later = {client.submit("a", "y").job_id for _ in range(12)}
        seen = list(client.as_completed(ended | later))
        assert {job.job_id for job in seen[:3]} == ended
        assert {job.job_id for job in seen} == ended | later
        assert all(job.ended and job.result for job in seen)
        first = [job.completed_at for job in seen[:3]]
        assert first == sorted(first, key=str)
        listed = [job.job_id for job in client.each_job(model="a", state="done")]
        assert len(listed) == len(set(listed)) and set(listed) >= ended | later
        with pytest.raises(NotFound):
            next(client.as_completed(["01M8DBG2P76T5H035HXMRVDZDJ"]))
        assert list(client.as_completed([])) == []


def test_the_same_on_an_event_loop(app: App) -> None:
    async def test() -> None:
        async with AsyncClient(app.url, TOKEN) as client:
            ids = [accepted.job_id async for accepted in client.submit_once(colours(3))]
            assert {job.job_id async for job in client.as_completed(ids)} == set(ids)
            found = await client.find("colour-1")
            assert found is not None and found.job_id == ids[1]
            assert set(ids) <= {job.job_id async for job in client.each_job(custom_id="colour-*")}

    anyio.run(test)


def test_a_break_is_bridged_by_a_look_at_all_that_are_left(told: StaticAnswer) -> None:
    running = JOB | {"state": "working", "completed_at": None}
    told.stream("GET /events", hello(7), whole=False)
    told.stream("GET /events", hello(9), event(10))
    for job_id, answers in {"J": [running, running, JOB], "K": [running, JOB]}.items():
        for answer in answers:
            told.answer(f"GET /jobs/{job_id}", answer | {"job_id": job_id})
    with Client() as client:
        assert [job.job_id for job in client.as_completed(["J", "K"])] == ["K", "J"]
    assert "state=" in told.asked[0][0]
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConnectFailed):
        next(client.as_completed(["J"], retry_for=0))


def test_a_job_is_the_same_by_its_name_or_by_its_content() -> None:
    named = payload_of("a", "x", custom_id="n")
    assert key_of(named) == key_of(named | {"model": "b"}) != key_of(named | {"custom_id": "m"})
    plain = payload_of("a", "x")
    assert key_of(plain) == key_of(dict(reversed(plain.items()))) != key_of(plain | {"model": "b"})


def test_an_answer_of_a_type_comes_with_its_job(told: StaticAnswer) -> None:
    told.answer("GET /jobs/J1", JOB | {"result": {"message": {"content": '{"name": "red"}'}, "eval_count": 3}})
    told.answer("GET /jobs/J2", JOB)
    with Client() as client:
        job = client.job("J1")
        assert (job.read(Colour), job.job_id) == (Colour("red"), "J1")
        with pytest.raises(NotTheShape):
            client.job("J2").read(Colour)


def test_a_type_is_its_schema_in_the_place_of_each_endpoint() -> None:
    schema = {"title": "Colour", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert payload_of("m", "x", format=Colour)["format"] == schema
    chat = payload_of("m", "x", endpoint="/v1/chat/completions", format=Colour)
    assert chat["response_format"]["json_schema"]["schema"] == schema
    assert payload_of("m", "x", format=list[Colour])["format"]["type"] == "array"
