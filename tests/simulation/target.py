"""A target that does whatever a target may do."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import (
    ModelCrashed,
    TargetBusy,
    TargetError,
    TargetFailed,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.domain.job import RUNNING
from foreman.domain.scheduling.room import Room
from foreman.targets.protocol import Call, Model
from tests.simulation.witness import SLACK, Book
from tests.support.actors import PlainTarget

MODELS = ("a", "b", "c", "d")
WAYS = {
    "well": 60,
    "slowly": 8,
    "breaks off": 8,
    "fails": 5,
    "refuses": 3,
    "garbage": 4,
    "falls silent": 4,
    "says nothing": 3,
    "busy": 5,
    "talks too much": 1,
    "has gone": 3,
}
WELL = {"well": 1}


class Bug(Exception):
    """Put there to see the worker start again."""


class ScriptedTarget(PlainTarget):
    """Its moods last over lives of the process, as a target's do."""

    def __init__(
        self, dice: random.Random, book: Book, *, name: str, models: Sequence[str] = MODELS, most: int = 1
    ) -> None:
        """Serve `models`, up to `most` of which may be loaded at once."""
        self.name = self.address = name
        self.models_of_its_own = list(models)
        self._dice = dice
        self._book = book
        self._room = Room.count(most)
        self._loaded: list[str] = []  # the least recently used first
        self._crash = trio.Event()
        self._at_work: dict[int, Call] = {}
        self._calls = 0
        self._newest: dict[str, int] = {}  # call of each job
        self.ways = WAYS
        self.up = True
        self.mute = False  # takes the connection and answers no probe
        self.bug = False  # the next look at it fails
        self.models_there = list(models)

    async def models(self) -> list[Model]:
        await trio.sleep(self._dice.choice([0, 0.01, 1]))
        if self.mute:
            await trio.sleep_forever()
        self._reached()
        return [Model(name=name) for name in self.models_there]

    async def load(self, call: Call) -> None:
        if call.key in self._loaded:
            self._loaded.remove(call.key)
            self._loaded.append(call.key)
            return
        at_work = {other.key for other in self._at_work.values() if self._runs(other)}
        for key in [key for key in self._loaded if key not in at_work]:
            if not self._room.fits({*self._loaded, call.key}):
                self._loaded.remove(key)
        if not self._room.fits({*self._loaded, call.key}):
            self._book.complain(f"{self.name} is to load {call.key} while it works on {at_work}")
        await self._unless_it_crashes(self._dice.choice([0, 1, 20, 90]))
        if self._dice.random() < 0.02 and self.ways is not WELL:
            raise ModelCrashed(call.model, "ended with status 1", ["out of memory"])
        if call.key not in self._loaded:
            self._loaded.append(call.key)

    def _is_its(self, job_id: str) -> bool:
        """Return True unless another target has the job by now."""
        seen = self._book.jobs.get(job_id)
        return seen is None or seen.target == self.name

    def _runs(self, call: Call) -> bool:
        """Return True unless its job has ended, and it has not heard of it yet."""
        seen = self._book.jobs.get(call.payload.decode())
        return seen is not None and seen.state in RUNNING and seen.target == self.name

    def is_loaded(self, key: str) -> bool:
        if self.bug:
            self.bug = False
            raise Bug("injected")
        return key in self._loaded

    def in_memory(self) -> Sequence[str]:
        return tuple(self._loaded)

    def room(self) -> Room:
        return self._room

    @asynccontextmanager
    async def answer(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        self._calls += 1
        number, began = self._calls, self._book.time()
        self._at_work[number] = call
        job_id = call.payload.decode()
        self._newest[job_id] = number
        if self._is_its(job_id):  # else its node has not heard of that yet
            known = self._book.jobs.get(job_id)
            self._book.said[job_id], self._book.said_under[job_id] = "", known.fence if known else 0
        if len(self._at_work) > self._book.slots[self.name]:
            self._book.complain(f"{self.name} has {len(self._at_work)} calls in {self._book.slots[self.name]} slots")
        together = {other.key for other in self._at_work.values() if other is call or self._runs(other)}
        if not self._room.fits(together):
            self._book.complain(f"{self.name} is to answer for {together} at once")
        try:
            async with aclosing(self._answer(call, job_id, number)) as chunks:
                yield chunks
        finally:
            del self._at_work[number]
            seen = self._book.jobs.get(job_id) or self._book.gone.get(job_id)
            if seen is None:  # the commit has failed
                self._book.tally["worked for nobody"] += 1
                if self._book.time() - began > SLACK and not self._book.excused(self.name, began):
                    self._book.complain(f"{self.name} went on with {job_id}, which was not stored")
            elif seen.state in RUNNING or self._book.time() - seen.changed_at <= SLACK:
                pass
            elif not self._book.excused(self.name, seen.changed_at):
                self._book.complain(f"{self.name} went on with {job_id} after it was {seen.state}")

    async def _answer(self, call: Call, job_id: str, number: int) -> AsyncGenerator[Chunk, None]:
        dice = self._dice
        self._reached()
        await self._unless_it_crashes(dice.choice([0, 0.1, 2]))
        if call.model not in self.models_there:
            raise TargetRefused(404, f"model {call.model} not found")
        way = dice.choices(list(self.ways), list(self.ways.values()))[0]
        self._book.tally[way] += 1
        match way:
            case "refuses":
                raise TargetRefused(400, "no")
            case "fails":
                raise TargetFailed(self.name, "500")
            case "busy":
                raise TargetBusy(self.name, dice.choice([None, 0.0, 5.0, 300.0]))
            case "has gone":
                raise TargetUnavailable(self.name, "refused")
            case "says nothing":
                await self._unless_it_crashes(float("inf"))
        pause = dice.choice([60, 100]) if way == "slowly" else dice.choice([0, 0, 0.5, 10])
        words = [f"{job_id}#{number}", *(f" {n}" for n in range(dice.randint(0, 5)))]
        said = ""
        for n, word in enumerate(words):
            await self._unless_it_crashes(pause)
            if n and way == "breaks off":
                raise TargetLost(self.name, "it hung up")
            if n and way == "falls silent":
                await self._unless_it_crashes(float("inf"))
            if way == "garbage":
                yield Chunk(dice.choice([b"{", b"[]", b'{"error": "nonsense"}', b"\xff"]))
            said += word
            if self._newest[job_id] == number and self._is_its(job_id):  # a cancelled one may get this far
                self._book.said[job_id] = said
            yield Chunk(b'{"model":"m","message":{"role":"assistant","content":"%s"},"done":false}' % word.encode())
        if way == "talks too much":
            yield Chunk(b'{"message":{"content":"%s"},"done":false}' % (b"x" * 20_000))
        yield Chunk(b'{"model":"m","message":{"role":"assistant","content":""},"done":true}', last=True)

    def crash(self) -> None:
        """Everything under way is lost, and what was loaded."""
        self._loaded = []
        self._crash.set()
        self._crash = trio.Event()

    def _reached(self) -> None:
        if not self.up:
            raise TargetUnavailable(self.name, "connection refused")

    async def _unless_it_crashes(self, seconds: float) -> None:
        self._reached()
        crash = self._crash
        with trio.move_on_after(seconds):
            await crash.wait()
            raise self._lost()

    def _lost(self) -> TargetError:
        return TargetLost(self.name, "connection reset")
