"""What it costs to index the words of requests and answers, and how fast jobs are found by them."""

from __future__ import annotations

import itertools
import json
import random
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from foreman.domain.job import Draft
from foreman.http.new_ids import new_job_id
from foreman.queue.commands import KeepIndex, SubmitMany
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.bench.daemon import child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.stored import GROUP
from tests.bench.wire import connected, get, post, rate
from tests.support.sites import only_site

JOBS = 1_000_000
WORDS = 20  # of each of these jobs' prompts
VOCABULARY = 50_000  # words; the n-th comes about 1/n as often as the first
RARE = "zyzzyva"  # in one job in the middle
CALLERS = 50
LONG = 150  # words of the prompts that are submitted
CONNECTIONS, CHATS = 32, 8
SECONDS = 2.0  # of each rate
SOME = 10_000  # jobs, for the size of the database
LOOKS = 15  # of each search


async def search(rounds: int) -> list[Figure]:
    """Searches among a million jobs beside the same page without words."""
    with TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        words = await trio.to_thread.run_sync(_fill, data_dir)
        searches = {
            "a word in one of a million": RARE,
            "the commonest word, newest first": words[0],
            "two common words": f"{words[1]}+{words[2]}",
            "a word in 1 of 1,000": words[VOCABULARY // 50],
            "a common word of a caller": f"{words[1]}&caller=caller-7",
            "a common word, a model": f"{words[3]}&model={MODELS[0]}",
            "the beginning of a word": f"{words[VOCABULARY // 50][:3]}*",
        }
        async with (
            child("tests.bench.instant", "--silent") as target,
            serving(
                data_dir,
                ollama_url=f"http://127.0.0.1:{target['port']}",
                max_queue=10 * JOBS,
                shutdown_grace=0,
                full_text=True,
            ) as daemon,
        ):
            bare = await _time(daemon.port, "/jobs?limit=50")
            found = {name: await _time(daemon.port, f"/jobs?limit=50&q={query}") for name, query in searches.items()}
    return [Figure(f"search: {name}", took, "ms", "no words", bare, Wanted("<", 200)) for name, took in found.items()]


async def indexed(rounds: int) -> list[Figure]:
    """Submissions, calls and the database's size with an index and without one, with prompts of LONG words.

    Both see the same machine: they take turns.
    """
    prompt = " ".join(_prompt(random.Random(1), *_vocabulary(random.Random(1)), LONG))
    job = {"model": MODELS[0], "messages": [{"role": "user", "content": prompt}]}
    chat = post("/api/chat", {**job, "stream": False})
    submitted: dict[bool, list[float]] = {True: [], False: []}
    called: dict[bool, list[float]] = {True: [], False: []}
    sizes: dict[bool, list[float]] = {True: [], False: []}
    with TemporaryDirectory() as folder:
        async with child("tests.bench.instant") as target, child("tests.bench.instant", "--silent") as silent:
            for number in range(rounds):
                for on in (True, False):
                    settings = {"max_queue": 10_000_000, "shutdown_grace": 0, "full_text": on, "slots": CHATS}
                    url = f"http://127.0.0.1:{silent['port']}"
                    async with serving(Path(folder) / f"s{on}{number}", ollama_url=url, **settings) as daemon:
                        await _until_ready(daemon.port, on=on)
                        load = {"connections": CONNECTIONS, "seconds": SECONDS, "status": 202}
                        submitted[on].append(await rate(daemon.port, post("/jobs", job), **load))  # type: ignore[arg-type]
                    url = f"http://127.0.0.1:{target['port']}"
                    async with serving(Path(folder) / f"c{on}{number}", ollama_url=url, **settings) as daemon:
                        await _until_ready(daemon.port, on=on)
                        load = {"connections": CHATS, "seconds": SECONDS, "status": 200}
                        called[on].append(await rate(daemon.port, chat, **load))  # type: ignore[arg-type]
            for on in (True, False):
                sizes[on].append(await trio.to_thread.run_sync(_size, Path(folder) / f"d{on}", on))
    return [
        _beside("full text: submissions", submitted, "jobs/s", Wanted("≥", 0.85, "ratio")),
        _beside("full text: /api/chat", called, "calls/s", Wanted("≥", 0.85, "ratio")),
        _beside("full text: database, each queued job", sizes, "kB", Wanted("≤", 2.5, "ratio")),
    ]


def _beside(name: str, found: dict[bool, list[float]], unit: str, wanted: Wanted) -> Figure:
    return Figure(name, middle(found[True]), unit, "without", middle(found[False]), wanted)


def _vocabulary(chance: random.Random) -> tuple[list[str], list[float]]:
    """Words, the commonest first, and their weights, added up."""
    syllables = [one + other for one in "bdfgklmnprstvz" for other in "aeiou"]
    every = ["".join(parts) for parts in itertools.product(syllables, repeat=3)]
    words = chance.sample(every, VOCABULARY)
    return words, list(itertools.accumulate(1 / number for number in range(1, VOCABULARY + 1)))


def _prompt(chance: random.Random, words: list[str], weights: list[float], count: int) -> str:
    return " ".join(chance.choices(words, cum_weights=weights, k=count))


def _fill(data_dir: Path) -> list[str]:
    """Queue JOBS jobs, and index them; return the words of their prompts, the commonest first."""
    data_dir.mkdir(parents=True)
    chance = random.Random(1)
    words, weights = _vocabulary(chance)
    drawn = itertools.cycle([_prompt(chance, words, weights, WORDS) for _ in range(100_003)])
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        handlers = CommandHandlers(store, JobRules(max_queue=JOBS, full_text=True), only_site(), clock=time.time)
        handlers.apply([KeepIndex(), KeepIndex()])
        for first in range(0, JOBS, GROUP):
            drafts = [_draft(number, next(drawn)) for number in range(first, min(first + GROUP, JOBS))]
            handlers.apply([SubmitMany(drafts=drafts)])
        store.checkpoint()
    return words


def _draft(number: int, prompt: str) -> Draft:
    text = f"{prompt} {RARE}" if number == JOBS // 2 else prompt
    model = MODELS[number % len(MODELS)]
    payload = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    caller = f"caller-{number % CALLERS}"
    return Draft(id=new_job_id(), model=model, key=model, endpoint="/api/chat", payload=payload, owner=caller)


def _size(data_dir: Path, on: bool) -> float:
    """Kilobytes of the database, each of SOME queued jobs."""
    data_dir.mkdir()
    chance = random.Random(1)
    words, weights = _vocabulary(chance)
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        handlers = CommandHandlers(store, JobRules(max_queue=SOME, full_text=on), only_site(), clock=time.time)
        handlers.apply([KeepIndex(), KeepIndex()])
        for _ in range(0, SOME, 1000):
            handlers.apply([SubmitMany([_draft(1, _prompt(chance, words, weights, LONG)) for _ in range(1000)])])
    return (data_dir / "foreman.db").stat().st_size / SOME / 1000


async def _time(port: int, path: str) -> float:
    """Milliseconds until the answer, in the middle of LOOKS."""
    took: list[float] = []
    async with connected(port) as connection:
        for _ in range(LOOKS):
            began = time.perf_counter()
            status, body = await connection.exchange(get(path))
            took.append(1000 * (time.perf_counter() - began))
            if status != 200 or not json.loads(body)["jobs"]:
                raise RuntimeError(f"{path} answered {status}: {body[:300]!r}")
    return middle(took)


async def _until_ready(port: int, *, on: bool) -> None:
    """Until the index is there."""
    async with connected(port) as connection:
        for _ in range(600 * on):
            if (await connection.exchange(get("/jobs?q=x")))[0] == 200:
                return
            await trio.sleep(0.1)
