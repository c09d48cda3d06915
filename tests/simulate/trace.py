"""Traces: what was asked when, read from files in Mooncake's or Azure's form."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, chain, count, islice
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from foreman.domain.job import Priority

MOONCAKE_BLOCK = 512  # tokens
AZURE_COLUMNS = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
ENDPOINT = "/v1/chat/completions"
ZIPF = 1.1  # the exponent of popularity, of templates and models


class TraceError(Exception):
    """The file is no trace; the text is one line."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a trace."""

    at: float  # seconds from the beginning
    prompt: int  # tokens
    answer: int  # tokens
    blocks: tuple[int, ...]  # of the prompt: two of them are equal if they, and all before them, have the same text
    caller: str = "trace"
    priority: Priority = Priority.NORMAL
    model: str = "m"


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their arrival."""

    requests: Sequence[Request]
    block: int  # tokens of a block; the last one of a prompt may be shorter

    def shared(self, request: Request, blocks: int) -> int:
        """Return how many tokens of a request's prompt its first blocks have."""
        return min(blocks * self.block, request.prompt)

    def body(self, number: int, bytes_per_token: float) -> bytes:
        """Return what the caller of a request posts to /jobs; `seed` names the request."""
        request = self.requests[number]
        size, length = round(self.block * bytes_per_token), round(request.prompt * bytes_per_token)
        content = "".join(_text(block, size) for block in request.blocks)[:length]
        return msgspec.json.encode(
            {
                "model": request.model,
                "messages": [{"role": "user", "content": content}],
                "seed": number,
                "endpoint": ENDPOINT,
                "priority": request.priority.word,
            }
        )

    def bound(self) -> float:
        """Return the hit rate of a cache that forgets nothing."""
        seen: set[tuple[str, int]] = set()
        cached = 0
        for request in self.requests:
            path = [(request.model, prefix) for prefix in accumulate(request.blocks, lambda *pair: hash(pair))]
            known = next((place for place, prefix in enumerate(path) if prefix not in seen), len(path))
            cached += self.shared(request, known)
            seen.update(path[known:])
        return cached / sum(request.prompt for request in self.requests)

    def timed(self, factor: float) -> Trace:
        """Return the trace with all times multiplied."""
        return replace(self, requests=[replace(one, at=one.at * factor) for one in self.requests])

    def over(self, models: int, seed: int) -> Trace:
        """Return the trace spread over models by popularity; prompts that begin alike have the same one."""
        if models == 1:
            return self
        names, weights = [f"m{n}" for n in range(1, models + 1)], popularity(models)
        chosen: dict[tuple[int, ...], str] = {}
        dice = random.Random(seed)
        for request in self.requests:
            if request.blocks[:1] not in chosen:
                chosen[request.blocks[:1]] = dice.choices(names, weights)[0]
        return replace(self, requests=[replace(one, model=chosen[one.blocks[:1]]) for one in self.requests])


def popularity(number: int) -> list[float]:
    """Return the weights of so many things, the most popular one first."""
    return [rank**-ZIPF for rank in range(1, number + 1)]


@lru_cache(maxsize=20_000)
def _text(block: int, size: int) -> str:
    word = f"{block:x} "
    return (word * (size // len(word) + 1))[:size]


def read(path: Path, most: int | None = None) -> Trace:
    """Read the first `most` requests of a file, in either form. Raise TraceError."""
    try:
        with path.open() as lines:
            first = next(lines, "").rstrip("\r\n")
            if first.startswith("{"):
                trace = Trace(_sorted(_mooncake(chain([first], lines), path), most), MOONCAKE_BLOCK)
            elif first.split(",") == AZURE_COLUMNS:
                trace = Trace(_sorted(_azure(lines, path), most), MOONCAKE_BLOCK)
            else:
                raise TraceError(
                    f"{path}, line 1: must be a JSON object as in Mooncake's traces, or the head of Azure's: "
                    f"{','.join(AZURE_COLUMNS)}"
                )
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise TraceError(f"{path} cannot be read: {why}") from None
    if not trace.requests:
        raise TraceError(f"{path} has no requests")
    return trace


def _sorted(requests: Iterator[Request], most: int | None) -> list[Request]:
    found = sorted(islice(requests, most), key=lambda one: one.at)
    return [replace(one, at=one.at - found[0].at) for one in found]


class _Line(msgspec.Struct):
    """A line in Mooncake's form; the last three are our own addition."""

    timestamp: Annotated[float, Meta(ge=0)]  # milliseconds
    input_length: Annotated[int, Meta(ge=1)]
    output_length: Annotated[int, Meta(ge=0)]
    hash_ids: list[int]
    caller: str = "trace"
    priority: Literal["high", "normal", "low"] = "normal"
    model: str = "m"


_LINE = msgspec.json.Decoder(_Line)


def _mooncake(lines: Iterable[str], path: Path) -> Iterator[Request]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = _LINE.decode(line)
        except msgspec.DecodeError as error:
            raise TraceError(f"{path}, line {number}: {error}") from None
        needed = math.ceil(read.input_length / MOONCAKE_BLOCK)
        if len(read.hash_ids) != needed:
            raise TraceError(
                f"{path}, line {number}: {read.input_length} tokens need {needed} hash_ids, one for each "
                f"{MOONCAKE_BLOCK}, not {len(read.hash_ids)}"
            )
        yield Request(
            at=read.timestamp / 1000,
            prompt=read.input_length,
            answer=read.output_length,
            blocks=tuple(read.hash_ids),
            caller=read.caller,
            priority=Priority[read.priority.upper()],
            model=read.model,
        )


def _azure(lines: Iterable[str], path: Path) -> Iterator[Request]:
    block = count()
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            at, given, written = line.rstrip("\r\n").split(",")
            when = datetime.fromisoformat(at[:26])  # of seven decimals, one too many
            prompt, answer = int(given), int(written)
            if prompt < 1 or answer < 0:
                raise ValueError
        except ValueError:
            raise TraceError(
                f"{path}, line {number}: must be a time, tokens of the prompt and of the answer, not {line.strip()!r}"
            ) from None
        blocks = tuple(next(block) for _ in range(math.ceil(prompt / MOONCAKE_BLOCK)))  # nothing is known to be shared
        yield Request(at=when.timestamp(), prompt=prompt, answer=answer, blocks=blocks)
