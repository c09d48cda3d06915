"""Both clients against a real Foreman."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from foreman.client import (
    Acted,
    ArgumentInvalid,
    AsyncClient,
    CancelledMany,
    Chunk,
    JobFailed,
    NotEnded,
    NotFound,
    NotTheShape,
    Refused,
    State,
)
from tests.cli.conftest import TOKEN, App, an_app
from tests.client.test_async import Run
from tests.client.test_async import run as run

pytestmark = pytest.mark.every_store


@dataclass
class Colour:
    name: str


@pytest.fixture(scope="module")
def app(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("app")) as app:
        yield app


def test_a_job_is_run_waited_for_and_taken_care_of(app: App) -> None:
    with app.client() as client:
        job = client.run("a", "say #echo", system="be brief", custom_id="mine")
        assert (job.state, job.custom_id, client.job(job.job_id)) == (State.DONE, "mine", job)
        assert "#echo" in job.text
        assert job.usage.answer_tokens > 0
        assert client.payload(job.job_id)["messages"][0] == {"role": "system", "content": "be brief"}
        (artifact,) = client.artifacts(job.job_id)
        assert artifact.content == client.artifact(job.job_id)
        assert "".join(piece.text for piece in client.stream(job.job_id) if isinstance(piece, Chunk)) == job.text
        client.delete(job.job_id)
        with pytest.raises(NotFound):
            client.wait(job.job_id)


def test_how_a_job_fails_is_a_fault_that_says_why(app: App) -> None:
    with app.client() as client:
        with pytest.raises(JobFailed) as caught:
            client.run("a", "#status=400")
        assert (caught.value.job.state, caught.value.code) == (State.FAILED, "target_refused")
        assert client.wait(caught.value.job.job_id) == caught.value.job


def test_a_stream_that_is_cut_off_by_a_cancel_is_no_whole_answer(app: App) -> None:
    with app.client() as client:
        job_id = client.submit("a", "long #chunks=1000 #every=0.02").job_id
        pieces = client.stream(job_id)
        assert next(pieces)
        client.cancel(job_id)
        with pytest.raises(JobFailed, match="was cancelled") as caught:
            list(pieces)
        assert caught.value.job == client.job(job_id)


def counts(told: CancelledMany) -> tuple[int, int, int]:
    return told.matched, told.done, told.skipped


def test_selected_jobs_are_cancelled_retried_and_deleted(app: App) -> None:
    with app.client() as client:
        since = datetime.now(UTC) - timedelta(hours=1)
        for number in range(3):
            client.submit("a", "hi", custom_id=f"many-{number}", not_before=datetime(2099, 1, 1, tzinfo=UTC))
        assert counts(client.cancel_all(custom_id="many-*", created_after=since, dry_run=True)) == (3, 0, 0)
        assert counts(client.cancel_all(custom_id="many-*", created_after=since, priority=None)) == (3, 3, 0)
        assert counts(client.cancel_all(custom_id="many-*")) == (3, 0, 3)
        assert client.retry_all(custom_id="many-0", state="cancelled,failed") == Acted(1, 1, 0)
        assert client.wait(client.jobs(custom_id="many-0").jobs[0].job_id).state is State.DONE
        assert client.delete_all(custom_id="many-*") == Acted(3, 3, 0)
        with pytest.raises(Refused) as caught:
            client.delete_all()
        assert caught.value.code == "field_invalid"
        with pytest.raises(ArgumentInvalid, match="takes no argument 'modle'") as invalid:
            client.cancel_all(modle="a")  # type: ignore[call-arg]
        assert invalid.value.hint == "did you mean 'model'?"


def test_every_attempt_that_a_stream_tells_of_may_fail(app: App) -> None:
    with app.client() as client:
        job_id = client.submit("a", "#break=9 #chunks=4", max_attempts=2).job_id
        with pytest.raises(JobFailed) as caught:
            list(client.stream(job_id))
        assert caught.value.code == "target_lost"
        with pytest.raises(JobFailed):
            list(client.stream(job_id))  # whenever it is asked for


def test_a_held_queue_is_seen_waited_for_and_let_go(app: App) -> None:
    with app.client() as client:
        client.pause()
        job_id = client.submit("a", "#slow=0.2").job_id
        with pytest.raises(NotEnded):
            client.wait(job_id, within=0.1)
        assert [job.job_id for job in client.waiting()] == [job_id]
        client.resume()
        assert client.wait(job_id).state is State.DONE
        assert client.request("GET", "/metrics").startswith(b"# ")


def test_an_answer_has_the_type_that_was_asked_for(app: App) -> None:
    with app.client() as client:
        assert client.run_as(Colour, "a", "x", custom_id="typed") == Colour("w0")
        asked = next(job for job in client.jobs().jobs if job.custom_id == "typed")
        assert client.payload(asked.job_id)["format"]["properties"] == {"name": {"type": "string"}}
        with pytest.raises(NotTheShape, match="the answer is not a valid Colour") as caught:
            client.run_as(Colour, "a", "#echo {", payload={"format": "json"})
        assert caught.value.text.strip() == "#echo {"


def test_an_event_loop_runs_many_jobs_at_a_time(app: App, run: Run) -> None:
    async def test() -> None:
        async with AsyncClient(app.url, TOKEN) as client, anyio.create_task_group() as tasks:
            done = await client.submit_many(
                {"model": "a", "messages": [{"role": "user", "content": f"#echo {n}"}]} for n in range(120)
            )
            texts: dict[int, str] = {}

            async def wait(number: int, job_id: str) -> None:
                texts[number] = (await client.wait(job_id)).text

            for taken in done.jobs:
                tasks.start_soon(wait, taken.line, taken.job_id)
        assert len(texts) == 120
        assert all(str(number - 1) in text for number, text in texts.items())

    run(test)


def test_an_event_loop_follows_changes_and_cancels(app: App, run: Run) -> None:
    async def test() -> None:
        async with AsyncClient(app.url, TOKEN) as client:
            started = (await client.submit("a", "#silent")).job_id
            async with aclosing(client.feed(after=0, job_id=[started])) as feed:
                async for event in feed:
                    if event.state is State.WORKING:
                        break
            assert (await client.cancel(started)).state is State.CANCELLED
            with pytest.raises(Refused) as caught:
                await client.cancel((await client.run("a", "x")).job_id)
            assert caught.value.code == "illegal_step"

    run(test)


def test_a_wait_lives_through_a_killed_foreman(tmp_path: Path) -> None:
    with an_app(tmp_path) as app:

        async def test() -> None:
            async with AsyncClient(app.url, TOKEN) as client, anyio.create_task_group() as tasks:
                job_id = (await client.submit("a", "#slow=0.5")).job_id
                ended: list[State] = []

                async def wait() -> None:
                    ended.append((await client.wait(job_id)).state)

                tasks.start_soon(wait)
                async with aclosing(client.feed(after=0)) as feed:
                    async for event in feed:
                        if event.state is State.WORKING:
                            break
                await anyio.to_thread.run_sync(app.daemon.kill)
                await anyio.to_thread.run_sync(app.daemon.start)
            assert ended == [State.DONE]

        anyio.run(test, backend="trio")
