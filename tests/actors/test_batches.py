"""The actor of batches: from the input to the files, also when the process dies at any point between."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from foreman.actors.blobs import Blobs, Upload
from foreman.domain.batches import BatchState, LineFault
from foreman.domain.errors import FieldInvalid, StoreFull, TargetDown
from foreman.queue.batch_commands import (
    AdvanceBatch,
    CancelBatch,
    CheckedBatch,
    EndBatch,
    FailBatch,
    FeedBatch,
)
from foreman.queue.commands import Claim, Finished
from foreman.store import integrity
from tests.conftest import Logged
from tests.support.batch_life import BAD, Died, a_life, closed, lines


async def test_a_batch_is_fed_in_order_and_answered(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    async with a_life(data_dir) as life:
        batch_id = await life.add(lines(600))
        life.nursery.start_soon(life.serve)
        batch = await life.ended(batch_id)
        assert (batch.state, batch.counts[:2], batch.model) == (BatchState.COMPLETED, (597, 3), "m")
        assert list(life.read(batch.output_file)) == [str(n) for n in range(600) if n not in BAD]
        assert list(life.read(batch.error_file)) == [str(n) for n in sorted(BAD)]


async def test_a_model_that_nobody_has_is_asked_for_once(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    async with a_life(data_dir) as life:
        batch = await life.ended(await life.add(lines(50, model="nothing")))
        assert life.models.asked == ["nothing"]
        assert (batch.state, batch.counts.failed) == (BatchState.COMPLETED, 50)
        found = life.read(batch.error_file)
        assert {one["response"]["status_code"] for one in found.values()} == {404}


async def test_a_line_that_is_refused_does_not_hold_others_up(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    wide: dict[str, Any] = {"options": {str(n): n for n in range(20_000)}}
    async with a_life(data_dir) as life:
        life.nursery.start_soon(life.serve)
        one = lines(1, **wide).replace(b'"0", "method"', b'"wide", "method"')
        batch = await life.ended(await life.add(one + lines(2)))
        assert batch.counts[:2] == (2, 1)
        [refused] = life.read(batch.error_file).values()
        assert (refused["custom_id"], refused["response"]["status_code"]) == ("wide", 400)
        assert refused["response"]["body"]["error"]["code"] == FieldInvalid.code


async def test_lines_wait_while_nobody_knows_their_model(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    async with a_life(data_dir) as life:
        life.models.error = TargetDown("m", OSError("away"))
        life.nursery.start_soon(life.serve)
        batch_id = await life.add(lines(5))
        await trio.sleep(30)
        waiting = life.store.batch(batch_id)
        assert waiting is not None
        assert (waiting.state, waiting.fed) == (BatchState.IN_PROGRESS, 0)
        life.models.error = None
        assert (await life.ended(batch_id)).counts[:2] == (4, 1)


async def test_a_batch_without_its_input_fails(data_dir: Path, autojump_clock: trio.abc.Clock, logged: Logged) -> None:
    async with a_life(data_dir) as life:
        life.batches._coordinates = lambda: False
        batch_id = await life.add(lines(5))
        life.store.blobs.remove(life.store.blobs.stored(None))
        life.batches._coordinates = lambda: True
        life.batches.wake()
        batch = await life.ended(batch_id)
        assert (batch.state, [fault.code for fault in batch.errors]) == (BatchState.FAILED, ["input_missing"])
    logged.claim("a batch fails")


async def test_all_results_of_messages_are_in_one_file_in_order(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    async with a_life(data_dir) as life:
        life.nursery.start_soon(life.serve)
        batch = await life.ended(await life.add_messages(300))
        assert (batch.state, batch.counts[:2]) == (BatchState.COMPLETED, (297, 3))
        assert life.results(batch) == {str(n): "errored" if n in BAD else "succeeded" for n in range(300)}
        assert list(life.results(batch)) == [str(n) for n in range(300)]
        file = life.store.file(str(batch.output_file))
        assert file is not None
        assert (file.purpose, file.expires_at) == ("batch_results", None)


async def test_a_batch_of_messages_that_fails_has_a_result_for_every_request(
    data_dir: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with a_life(data_dir) as life:
        batch_id = await life.add_messages(300)
        await trio.sleep(1)
        await life.queue.ask(FailBatch(batch_id, [LineFault("line_refused", "no")]))
        life.batches.wake()
        batch = await life.ended(batch_id)
        assert batch.state is BatchState.FAILED
        found = life.results(batch)
        assert list(found) == [str(n) for n in range(300)]
        assert Counter(found.values()) == {"canceled": batch.fed, "errored": 300 - batch.fed}
        assert 0 < batch.fed < 300


async def test_a_batch_of_messages_whose_input_is_lost_ends_with_what_it_has(
    data_dir: Path, autojump_clock: trio.abc.Clock, logged: Logged
) -> None:
    async with a_life(data_dir) as life:
        batch_id = await life.add_messages(300)
        await trio.sleep(1)
        life.store.blobs.remove(life.store.blobs.stored(None))
        life.nursery.start_soon(life.serve)
        batch = await life.ended(batch_id)
        assert (batch.state, [fault.code for fault in batch.errors]) == (BatchState.FAILED, ["input_missing"])
        assert len(life.results(batch)) == batch.fed
        assert batch.counts.ended == 300
    logged.claim("a batch fails")


@pytest.mark.parametrize(
    "damage", ["DELETE FROM artifacts", "UPDATE artifacts SET blob = 'nothing'", "UPDATE artifacts SET data = x''"]
)
async def test_an_answer_that_is_lost_is_an_error_of_its_line_and_the_batch_ends(
    data_dir: Path, autojump_clock: trio.abc.Clock, logged: Logged, damage: str
) -> None:
    async with a_life(data_dir) as life:
        ids = [await life.add(lines(5)), await life.add_messages(5)]
        await trio.sleep(10)  # their lines are jobs
        life.batches._coordinates = lambda: False
        life.nursery.start_soon(life.serve)
        await trio.sleep(10)
        assert life.served == 10
        with closing(sqlite3.connect(data_dir / "foreman.db")) as db, db:
            done = db.execute(f"{damage} WHERE job_id IN (SELECT id FROM jobs WHERE custom_id IN ('1', '3'))")
            assert done.rowcount == 4
        life.batches._coordinates = lambda: True
        life.batches.wake()
        batch, messages = [await life.ended(batch_id) for batch_id in ids]
        assert (batch.state, batch.errors, batch.counts[:2]) == (BatchState.COMPLETED, (), (4, 1))
        answers, errors = life.read(batch.output_file), life.read(batch.error_file)
        assert [one["response"]["status_code"] for one in answers.values()] == [200, 500, 200, 200]
        assert answers["1"]["response"]["body"]["error"]["code"] == "answer_missing"
        assert errors["3"]["response"]["body"]["error"]["message"] == "no"
        assert messages.state is BatchState.COMPLETED
        told = ["succeeded", "errored", "succeeded", "errored", "succeeded"]
        assert list(life.results(messages).values()) == told
    if "blob" in damage:
        logged.claim("an answer of a batch is missing")


async def test_a_full_disk_is_waited_for(
    data_dir: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_life(data_dir) as life:
        life.nursery.start_soon(life.serve)
        whole, tries = Upload.finish, list[int]()

        async def finish(self: Upload) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise StoreFull
            return await whole(self)

        batch_id = await life.add(lines(5))
        monkeypatch.setattr(Upload, "finish", finish)
        assert (await life.ended(batch_id)).state is BatchState.COMPLETED
        assert len(tries) == 4


async def test_a_batch_that_is_cancelled_before_it_is_checked_has_a_line_for_each(
    data_dir: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with a_life(data_dir) as life:
        life.batches._coordinates = lambda: False
        batch_id = await life.add(lines(5))
        await life.queue.ask(CancelBatch(batch_id))
        life.batches._coordinates = lambda: True
        life.batches.wake()
        batch = await life.ended(batch_id)
        assert (batch.state, batch.total, batch.counts.cancelled) == (BatchState.CANCELLED, 5, 5)
        assert {one["error"]["code"] for one in life.read(batch.error_file).values()} == {"batch_cancelled"}


async def test_the_window_ends_what_waits_and_what_runs(data_dir: Path, autojump_clock: trio.abc.Clock) -> None:
    async with a_life(data_dir, batch_window=60) as life:
        batch_id = await life.add(lines(400))
        work = await life.queue.ask(Claim(loaded=lambda key: True))
        assert work is not None
        batch = await life.ended(batch_id)
        assert (batch.state, batch.counts.expired) == (BatchState.EXPIRED, 400)
        errors = life.read(batch.error_file)
        assert list(errors) == [str(n) for n in range(400)]
        assert {one["error"]["code"] for one in errors.values()} == {"batch_expired"}


POINTS: list[tuple[type, str, int]] = [
    *((kind, when, 1) for kind in (CheckedBatch, FeedBatch, AdvanceBatch, EndBatch) for when in ("before", "after")),
    (Finished, "before", 10),
    (Finished, "after", 10),
    (FeedBatch, "after", 2),
]


@pytest.mark.parametrize("doom", POINTS, ids=lambda doom: f"{doom[1]} {doom[0].__name__} {doom[2]}")
async def test_a_death_at_any_point_loses_and_doubles_no_line(
    data_dir: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch, doom: tuple[type, str, int]
) -> None:
    ids: list[str] = []
    with pytest.RaisesGroup(Died, allow_unwrapped=True, flatten_subgroups=True), monkeypatch.context() as patch:
        async with a_life(data_dir, doom) as life:
            patch.setattr(Blobs, "_end", closed)
            ids.append(await life.add(lines(300)))
            life.nursery.start_soon(life.serve)
            await life.ended(ids[0])
            await trio.sleep_forever()
    async with a_life(data_dir) as life:
        life.nursery.start_soon(life.serve)
        batch = await life.ended(ids[0])
        assert batch.counts[:2] == (297, 3)
        assert list(life.read(batch.output_file)) == [str(n) for n in range(300) if n not in BAD]
        assert list(life.read(batch.error_file)) == [str(n) for n in sorted(BAD)]
        await life.blobs.sweep(coordinates=True)
        assert len(life.store.blobs.stored(None)) == 3  # the input and both files
    assert integrity.check(data_dir / "foreman.db").problems == []


@pytest.mark.parametrize("place", ["write", "finish"])
async def test_a_death_while_a_file_is_written_leaves_nothing_of_it(
    data_dir: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    async def dies(self: Upload, *args: bytes) -> None:
        if self.size:
            raise Died

    async with a_life(data_dir) as life:
        life.batches._coordinates = lambda: False
        batch_id = await life.add(lines())
    with pytest.RaisesGroup(Died, allow_unwrapped=True, flatten_subgroups=True), monkeypatch.context() as patch:
        async with a_life(data_dir) as life:
            patch.setattr(Blobs, "_end", closed)
            patch.setattr(Upload, place, dies if place == "finish" else _dies_at_second_write())
            life.nursery.start_soon(life.serve)
            await life.ended(batch_id)
    async with a_life(data_dir) as life:
        batch = await life.ended(batch_id)
        assert batch.counts[:2] == (27, 3)
        assert len(life.read(batch.output_file)) == 27
        await life.blobs.sweep(coordinates=True)
        assert len(life.store.blobs.stored(None)) == 3
    assert integrity.check(data_dir / "foreman.db").problems == []


def _dies_at_second_write() -> Any:
    whole, seen = Upload.write, list[int]()

    async def write(self: Upload, data: bytes) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise Died
        await whole(self, data)

    return write
