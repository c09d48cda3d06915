"""Batches as a whole, from their uploads to their files, whatever happens in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from foreman.actors.blobs import Blobs, Upload
from foreman.domain.batches import ENDED, Batch, BatchState
from foreman.domain.errors import BatchEnded, FileNotFound, ForemanError, TargetDown
from foreman.queue.batch_commands import CancelBatch
from foreman.queue.commands import Cancel, Delete, DeleteFile, Prune, Retry
from foreman.store import integrity
from tests.support.batch_life import BAD, Died, Fate, Life, a_life, closed, lines

WINDOW, TTL = 60.0, 1e6  # seconds
RULES: dict[str, Any] = {"batch_window": WINDOW, "max_queue": 12, "job_ttl": TTL}
PACE = 0.5  # seconds that a line takes
SLOTS = 2

Step = tuple[str, Any]

NUMBER = st.integers(0, 5)
ADD = st.tuples(st.sampled_from(["add", "add", "add messages"]), st.integers(1, 30))
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.0, 0.06, 1.0, 4.0, WINDOW]))
CHANGE = st.tuples(st.sampled_from(["cancel", "delete input", "cancel job", "delete job", "retry job"]), NUMBER)
TARGET = st.tuples(st.just("target"), st.booleans())
SWEEP = st.tuples(st.just("sweep"), st.none())
STEPS = st.builds(
    lambda first, rest: [first, *rest],
    ADD,
    st.lists(ADD | WAIT | CHANGE | WAIT | TARGET | SWEEP, min_size=4, max_size=14),
)
DEATHS = st.lists(st.integers(0, 200), max_size=4)  # points that a life passes


@dataclass
class Known:
    """What was acknowledged."""

    totals: dict[str, int] = field(default_factory=dict)  # lines, by batch
    cancelled: set[str] = field(default_factory=set)  # batches
    doubtful: set[str] = field(default_factory=set)  # batches whose cancel was asked for
    jobs_cancelled: bool = False


@given(steps=STEPS, deaths=DEATHS)
def test_each_line_is_in_one_file_whatever_happens_in_whatever_order(steps: list[Step], deaths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(_play, Path(folder), steps, deaths, clock=trio.testing.MockClock(autojump_threshold=0))
        assert integrity.check(Path(folder) / "foreman.db").problems == []


async def _play(folder: Path, steps: list[Step], deaths: list[int]) -> None:
    known, left = Known(), list(steps)
    for fate in [*map(Fate, deaths), Fate()]:
        try:
            with _mortal(fate):
                async with a_life(folder, fate=fate, **RULES) as life:
                    _work(life)
                    while left:
                        await _take(life, known, *left.pop(0))
                    life.models.error = None
                    for batch in life.store.batches(limit=1000):
                        await life.ended(batch.id)
        except* Died:
            pass
    async with a_life(folder, **RULES) as life:
        _work(life)
        for batch_id in [batch.id for batch in life.store.batches(limit=1000)]:
            _judge(life, known, await life.ended(batch_id))
        for batch_id in known.totals:
            assert life.store.batch(batch_id) is not None
        await life.blobs.sweep(coordinates=True)
        keys = life.store.blobs.stored(None)
        assert life.store.named_blobs(keys) == set(keys)
        await trio.sleep(TTL + 1)
        while await life.queue.ask(Prune(most=7)):
            pass
        assert life.store.jobs(limit=9) == []
        assert life.store.batches(limit=9) == []


@contextmanager
def _mortal(fate: Fate) -> Iterator[None]:
    """Have the process die also while a blob is written, and without tidying up."""
    write, finish = Upload.write, Upload.finish

    async def writing(self: Upload, data: bytes) -> None:
        fate.reach()
        await write(self, data)

    async def finishing(self: Upload) -> Any:
        fate.reach()
        blob = await finish(self)
        fate.reach()
        return blob

    with patch.multiple(Upload, write=writing, finish=finishing), patch.object(Blobs, "_end", closed):
        yield


def _work(life: Life) -> None:
    life.pace = PACE
    for _ in range(SLOTS):
        life.nursery.start_soon(life.serve)


async def _take(life: Life, known: Known, what: str, value: Any) -> None:
    """Do one step."""
    ids = [*known.totals]
    batch_id = ids[value % len(ids)] if ids and what in ("cancel", "delete input") else ""
    match what:
        case "add":
            known.totals[await life.add(lines(value))] = value
        case "add messages":
            known.totals[await life.add_messages(value)] = value
        case "wait":
            await trio.sleep(value)
        case "target":
            life.models.error = None if value else TargetDown("m", OSError("away"))
        case "sweep":
            await life.blobs.sweep(coordinates=True)
        case "cancel" if batch_id:
            await _cancel(life, known, batch_id)
        case "delete input" if batch_id:
            batch = life.store.batch(batch_id)
            assert batch is not None
            await _refused(life, DeleteFile(batch.input_file), FileNotFound)
        case _:
            await _change_a_job(life, known, what, value)


async def _cancel(life: Life, known: Known, batch_id: str) -> None:
    known.doubtful.add(batch_id)
    try:
        await life.queue.ask(CancelBatch(batch_id))
        known.cancelled.add(batch_id)
    except BatchEnded:
        pass


async def _change_a_job(life: Life, known: Known, what: str, number: int) -> None:
    jobs = life.store.jobs(limit=100)
    if not jobs:
        return
    job = jobs[number * 7 % len(jobs)]
    match what:
        case "delete job":
            await _refused(life, Delete(job_id=job.id), ForemanError)
        case "retry job":
            await _refused(life, Retry(job_id=job.id), ForemanError)
        case "cancel job":
            known.jobs_cancelled = True
            await _refused(life, Cancel(job_id=job.id), ForemanError)


async def _refused(life: Life, message: Any, error: type[ForemanError]) -> None:
    try:
        await life.queue.ask(message)
    except error:
        pass


def _judge(life: Life, known: Known, batch: Batch) -> None:
    """A batch has ended as it may, its counts are those of its files, and each line is in one of them."""
    assert batch.state in ENDED
    assert batch.total == batch.counts.ended
    total = known.totals.get(batch.id, batch.total)
    assert batch.total == total
    output, errors = life.read(batch.output_file), life.read(batch.error_file)
    assert list(output) == sorted(output, key=int)
    if batch.kind == "anthropic":
        output = {name: one for name, one in output.items() if one["result"]["type"] == "succeeded"}
        errors = {
            name: {"response": kind == "errored"} for name, kind in life.results(batch).items() if name not in output
        }
    assert sorted([*output, *errors], key=int) == [str(number) for number in range(total)]
    assert batch.counts.completed == len(output)
    for custom_id, line in errors.items():
        if line["response"]:
            assert int(custom_id) in BAD
    if batch.id in known.cancelled:
        assert batch.state is BatchState.CANCELLED
    elif batch.id not in known.doubtful:
        assert batch.state in (BatchState.COMPLETED, BatchState.EXPIRED)
    if batch.state is BatchState.COMPLETED and not known.jobs_cancelled:
        assert list(output) == [str(number) for number in range(total) if number not in BAD]
