"""A backlog of prompts that begin alike, on the embedded model: in the order of prompts, and in that of arrival."""

from __future__ import annotations

import random
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.daemon import Daemon, serving
from tests.bench.embedded import MODEL, done
from tests.bench.figures import Figure, Wanted
from tests.bench.jobs import submit_lines
from tests.bench.stored import newest_seq, reading, wait_done
from tests.bench.wire import ask, get, post

SHARED = 1500  # tokens that the prompts of a template begin with
OWN = 100  # tokens of each prompt's own end
ANSWER = 32  # tokens
UNIQUE = 6  # prompts at a time that begin like no other
SHORTER = 200  # tokens of their beginnings
KEPT = 8  # prompts that the engine's own cache may hold
SEED = 7
TIMEOUT = 3600.0  # seconds for a backlog
ONE_TOKEN_EACH = """
    time people way water day part work place year back thing name good sentence man line right old mean same tell
    boy follow came want show form three small set put end another well large must big even such because turn here
    why ask went men read need land different home move try kind hand picture again change off play spell air animal
"""
WORDS = ONE_TOKEN_EACH.split()


@dataclass(frozen=True, slots=True)
class Size:
    """How many prompts there are: `jobs` of each of `templates`, whose beginning is the same."""

    templates: int
    jobs: int
    sample: int  # jobs that are run in the order of arrival, once the engine's cache is full; their pace is that of all
    counted: int  # jobs in the order of prompts after which the measurement ends
    wanted: float  # times the pace: with fewer jobs of a template the beginnings weigh more


SHORT = Size(templates=16, jobs=6, sample=16, counted=96, wanted=1.8)
FULL = Size(templates=20, jobs=15, sample=60, counted=300, wanted=3)


@dataclass(frozen=True, slots=True)
class Pace:
    """What came of some jobs: the seconds that they took, those of the processor, and the tokens of their prompts."""

    jobs: int = 0
    seconds: float = 0.0
    processor: float = 0.0  # Foreman's and its engine's
    prompt: int = 0
    cached: int = 0

    def __add__(self, other: Pace) -> Pace:
        return Pace(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def per_minute(self) -> float:
        return 60 * self.jobs / self.seconds

    @property
    def per_processor_minute(self) -> float:
        return 60 * self.jobs / self.processor

    @property
    def hit(self) -> float:
        return self.cached / self.prompt


async def prompts(rounds: int) -> list[Figure]:
    """A backlog that ends in a few minutes."""
    return await _measured(SHORT, rounds)


async def prompts_full(rounds: int) -> list[Figure]:
    """A longer backlog, in which each beginning is worth more; takes three times as long."""
    return await _measured(FULL, rounds)


async def _measured(size: Size, rounds: int) -> list[Figure]:
    """The order of arrival before and after that of prompts, so that a machine that slows down disturbs both."""
    choice = random.Random(SEED)
    backlog = _backlog(choice, size)
    half = size.sample // 2
    with TemporaryDirectory() as folder:
        async with (
            serving(Path(folder) / "arrival", prefix_turns="false") as arrival,
            serving(Path(folder) / "prompts") as ordered,
        ):
            await _run(ordered, [_job(choice, "")])  # loads
            await _run(arrival, backlog[:KEPT])
            one, each = Pace(), Pace()
            for _ in range(rounds):
                jobs = [_job(choice, _text(choice, SHORTER)) for _ in range(UNIQUE)]
                each += await _run(arrival, jobs)
                one += await _run(ordered, jobs)
            other = await _run(arrival, backlog[KEPT : KEPT + half])
            mine = await _run(ordered, backlog, counted=size.counted)
            other += await _run(arrival, backlog[KEPT + half : KEPT + size.sample])
    name, against = f"prompts, {size.templates} × {size.jobs} that begin alike", "order of arrival"
    paces, processor = (one.per_processor_minute, each.per_processor_minute), "jobs/CPU min"
    return [
        Figure(name, mine.per_minute, "jobs/min", against, other.per_minute, Wanted("≥", size.wanted, "ratio")),
        Figure("the same: tokens cached", mine.hit, "of 1", against, other.hit, Wanted("≥", 0.7)),
        Figure("prompts, all different", paces[0], processor, against, paces[1], Wanted("≥", 0.98, "ratio")),
    ]


async def _run(daemon: Daemon, jobs: list[dict[str, Any]], *, counted: int | None = None) -> Pace:
    """Submit all jobs at once, and wait until they, or `counted` of them, are done."""
    before, tokens, had = newest_seq(daemon.database), await _tokens(daemon), done(daemon)
    count = len(jobs) if counted is None else counted
    await ask(daemon.port, post("/queue/pause", {}))
    await submit_lines(daemon, jobs)
    spent = daemon.cpu()
    await ask(daemon.port, post("/queue/resume", {}))
    await wait_done(daemon.database, had + count, within=TIMEOUT)
    processor = daemon.cpu() - spent
    with reading(daemon.database) as db:
        began, count, ended = db.execute(
            """SELECT min(at) FILTER (WHERE state = 'loading' OR state = 'working'),
               count(*) FILTER (WHERE state = 'done'), max(at) FILTER (WHERE state = 'done')
               FROM events WHERE seq > ?""",
            (before,),
        ).fetchone()
    prompt, cached = await _tokens(daemon)
    return Pace(count, ended - began, processor, prompt - tokens[0], cached - tokens[1])


async def _tokens(daemon: Daemon) -> tuple[int, int]:
    """The tokens of all prompts that Foreman had answers to, and how many of them were cached."""
    report = await ask(daemon.port, get("/usage?step=hour"))
    return sum(row["prompt_tokens"] for row in report["rows"]), sum(row["cached_tokens"] for row in report["rows"])


def _backlog(choice: random.Random, size: Size) -> list[dict[str, Any]]:
    templates = [_text(choice, SHARED) for _ in range(size.templates)]
    jobs = [_job(choice, template) for template in templates for _ in range(size.jobs)]
    choice.shuffle(jobs)
    return jobs


def _text(choice: random.Random, tokens: int) -> str:
    return " ".join(choice.choice(WORDS) for _ in range(tokens))


def _job(choice: random.Random, begins: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": begins}, {"role": "user", "content": _text(choice, OWN)}]
    asked = {"messages": messages, "max_tokens": ANSWER, "temperature": 0, "ignore_eos": True}
    return {"model": MODEL, "endpoint": "/v1/chat/completions", **asked}
