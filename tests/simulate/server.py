"""Modelled inference servers: loads, prompts with a prefix cache, answers at the pace of a batch, in virtual time."""

from __future__ import annotations

from bisect import bisect
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.scheduling.room import Room
from foreman.targets.protocol import Call, Model
from tests.simulate.trace import Request, Trace
from tests.support.actors import PlainTarget

LEFT = 1e-6  # tokens that are none; sums of floats are not exact


@dataclass(frozen=True, slots=True)
class Speed:
    """What a server can do."""

    slots: int = 1
    prompt: float = 4000.0  # tokens per second, shared by all prompts under way
    answer: Sequence[tuple[int, float]] = ((1, 60.0),)  # tokens per second of so many answers together
    load: float = 15.0  # seconds to load a model
    loaded: int = 1  # models at once
    kept: int | None = None  # latest prompts that the cache holds; None: as many as slots
    batch: int = 512  # tokens of a prompt between two looks for a caller who has gone

    def together(self, answers: int) -> float:
        """Return the tokens per second of so many answers, by the straight lines through the points."""
        points = self.answer
        place = bisect(points, answers, key=lambda point: point[0])
        if place == len(points):
            return points[-1][1]
        after, best = points[place]
        before, known = points[place - 1] if place else (0, 0.0)
        return known + (best - known) * (answers - before) / (after - before)

    def cold(self, request: Request) -> float:
        """Return the seconds that a request takes of a server with all slots busy and no cache."""
        return request.prompt / self.prompt + request.answer / self.together(self.slots)


@dataclass(slots=True)
class Served:
    """A request on a server; times are seconds."""

    number: int  # of the request
    server: str
    slot: int
    start: float
    cached: int = 0  # tokens of the prompt
    first: float | None = None  # when the prompt was computed
    end: float = 0.0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """A load of a model by a server; times are seconds."""

    model: str
    server: str
    start: float
    end: float


@dataclass(slots=True)
class Log:
    """What all servers have done."""

    served: list[Served] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)


class _Crowd:
    """Work that shares a pace evenly."""

    def __init__(self) -> None:
        self.size = 0
        self._changed = trio.Event()

    def _change(self, by: int) -> None:
        self.size += by
        self._changed.set()
        self._changed = trio.Event()

    async def work(self, progress: list[float], pace: Speed, *, prompt: bool) -> None:
        """Return once `progress`, a list of one number of tokens, has come down to 0."""
        self._change(1)
        try:
            while progress[0] > LEFT:
                rate = (pace.prompt if prompt else pace.together(self.size)) / self.size
                began, changed = trio.current_time(), self._changed
                try:
                    with trio.move_on_after(progress[0] / rate) as scope:
                        await changed.wait()
                finally:
                    progress[0] -= (trio.current_time() - began) * rate
                if scope.cancelled_caught:
                    progress[0] = 0.0
        finally:
            self._change(-1)


class ModelledServer(PlainTarget):
    """A target with OpenAI's API: slots, models, and the blocks of the latest prompts."""

    def __init__(self, name: str, trace: Trace, speed: Speed, log: Log) -> None:
        self.name = self.address = name
        self._trace = trace
        self._speed = speed
        self._log = log
        self._models = sorted({request.model for request in trace.requests})
        self._loaded: list[str] = []  # the least recently used first
        self._kept: list[tuple[str, tuple[int, ...]]] = []  # prompts with their models, the least recently used first
        self._prompts, self._answers = _Crowd(), _Crowd()
        self._free = list(range(speed.slots))
        self._computing: set[int] = set()  # slots with a batch whose caller has gone
        self._freed = trio.lowlevel.ParkingLot()
        self._going_on: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._going_on:
            task_status.started()
            await trio.sleep_forever()

    async def models(self) -> list[Model]:
        await trio.lowlevel.checkpoint()
        return [Model(name=name) for name in self._models]

    def room(self) -> Room:
        return Room.count(self._speed.loaded)

    def is_loaded(self, key: str) -> bool:
        return key in self._loaded

    def in_memory(self) -> Sequence[str]:
        return tuple(self._loaded)

    async def load(self, call: Call) -> None:
        if call.key in self._loaded:
            self._loaded.remove(call.key)
            self._loaded.append(call.key)
            return
        self._make_room()
        began = trio.current_time()
        await trio.sleep(self._speed.load)
        self._log.loads.append(Load(call.key, self.name, began, trio.current_time()))
        self._make_room()  # another one may have been loaded meanwhile
        self._loaded.append(call.key)

    def _make_room(self) -> None:
        del self._loaded[: max(0, len(self._loaded) + 1 - self._speed.loaded)]
        self._kept = [one for one in self._kept if one[0] in self._loaded]

    @asynccontextmanager
    async def answer(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        number = msgspec.json.decode(call.payload, type=_Payload).seed
        while not self._free:
            await self._freed.park()
        served = Served(number, self.name, self._free.pop(0), trio.current_time())
        self._log.served.append(served)
        try:
            async with aclosing(self._answer(call, served)) as chunks:
                yield chunks
        finally:
            if served.slot not in self._computing:
                self._release(served)

    async def _answer(self, call: Call, served: Served) -> AsyncGenerator[Chunk, None]:
        request = self._trace.requests[served.number]
        known = self._known(call.key, request)
        served.cached = min(self._trace.shared(request, known), request.prompt - 1)  # the last token is always computed
        left = [float(request.prompt - served.cached)]
        try:
            await self._prompts.work(left, self._speed, prompt=True)
        except trio.Cancelled:
            self._computing.add(served.slot)
            self._going_on.start_soon(self._finish_batch, call.key, served, left[0])
            raise
        self._keep(call.key, request.blocks)
        served.first = trio.current_time()
        yield _chunk(call.model, {"role": "assistant", "content": "."})
        await self._answers.work([float(request.answer)], self._speed, prompt=False)
        served.done = True
        yield _chunk(call.model, {}, request, served.cached)

    async def _finish_batch(self, key: str, served: Served, left: float) -> None:
        """Compute the rest of a batch for a caller who has gone, and keep what there is of the prompt."""
        request = self._trace.requests[served.number]
        computed = request.prompt - served.cached - left
        rest = min(left, -computed % self._speed.batch)
        await self._prompts.work([rest], self._speed, prompt=True)
        self._keep(key, request.blocks[: int((served.cached + computed + rest) // self._trace.block)])
        self._computing.discard(served.slot)
        self._release(served)

    def _release(self, served: Served) -> None:
        served.end = trio.current_time()
        self._free.append(served.slot)
        self._free.sort()
        self._freed.unpark()

    def _known(self, key: str, request: Request) -> int:
        """Return how many blocks of a prompt are in the cache."""
        best, kept = 0, None
        for one in self._kept:
            if one[0] == key and (shared := _common(one[1], request.blocks)) > best:
                best, kept = shared, one
        if kept is not None:
            self._kept.remove(kept)
            self._kept.append(kept)
        return best

    def _keep(self, key: str, blocks: tuple[int, ...]) -> None:
        if (key, blocks) in self._kept:
            self._kept.remove((key, blocks))
        self._kept.append((key, blocks))
        del self._kept[: -(self._speed.slots if self._speed.kept is None else self._speed.kept)]


class _Payload(msgspec.Struct):
    seed: int


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _chunk(model: str, delta: dict[str, str], request: Request | None = None, cached: int = 0) -> Chunk:
    value: dict[str, object] = {
        "id": "modelled",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": None if request is None else "stop"}],
    }
    if request is not None:
        value["usage"] = {
            "prompt_tokens": request.prompt,
            "completion_tokens": request.answer,
            "total_tokens": request.prompt + request.answer,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
    return Chunk(msgspec.json.encode(value), last=request is not None)
