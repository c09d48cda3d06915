"""The page in a browser, with jobs going by and with a year of usage: for how long it does not react."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from playwright.sync_api import Page

from foreman.domain.usage import HOUR, SINCE, WAITS, Depth, Figures, Group, Slot
from foreman.store.sqlite.writer import SqliteWriter
from tests.bench.browser import TIMEOUT, longest, wanted, watched
from tests.bench.daemon import Daemon, child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.jobs import JOB, submit_lines

JOBS = 10_000
EVENTS = 4 * JOBS  # queued, loading, working, done
HOURS = 365 * 24
CALLERS = ("alice", "bob", "carol", "dave")
SCROLL = """
setInterval(() => document.querySelector(".window").scrollBy(0, 8000), 100);
"""  # to the end, which is read page by page
DRAW = """
async () => {
  performance.clearResourceTimings();
  const began = performance.now();
  location.hash = "#/usage?period=year&by=model";
  while (!document.querySelector("table.sums tbody tr")) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  const told = performance.getEntriesByType("resource").filter((one) => one.name.includes("/usage?"));
  return [performance.now() - Math.max(...told.map((one) => one.responseEnd)), performance.now() - began];
}
"""  # ms until it is on the screen: since the last answer of Foreman, and since the click


async def page(rounds: int) -> list[Figure]:
    """The longest task of the page's list while JOBS jobs pass through all their states and
    are scrolled through, beside that of opening it."""
    if (found := wanted("the page")) is None:
        return []
    opened: list[float] = []
    streamed: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            async with child("tests.bench.instant") as target:
                url = f"http://127.0.0.1:{target['port']}"
                async with serving(Path(folder) / "data", ollama_url=url, slots=8) as daemon:
                    before, during = await trio.to_thread.run_sync(_listed, found, daemon)
        opened.append(before)
        streamed.append(during)
    return [
        Figure(
            f"page, {JOBS} jobs, longest task", middle(streamed), "ms", "opening it", middle(opened), Wanted("≤", 200)
        )
    ]


def _listed(path: str, daemon: Daemon) -> tuple[float, float]:
    """Milliseconds of the longest task: of opening the page, and of what followed."""
    with watched(path, f"http://127.0.0.1:{daemon.port}/#/jobs") as page:
        before = longest(page)
        trio.from_thread.run(submit_lines, daemon, [JOB] * JOBS)
        page.wait_for_function(
            "wanted => Number(document.documentElement.dataset.seq) >= wanted", arg=EVENTS, timeout=TIMEOUT
        )
        page.evaluate(SCROLL)
        page.get_by_text(f"{JOBS:,} jobs", exact=True).wait_for(timeout=TIMEOUT)
        return before, longest(page)


async def year(rounds: int) -> list[Figure]:
    """A year of usage, a row for each hour, model and caller, from the answers until it is on the screen."""
    if (found := wanted("a year of usage")) is None:
        return []
    with TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        await trio.to_thread.run_sync(_fill, data_dir)
        async with (
            child("tests.bench.instant") as target,
            serving(data_dir, ollama_url=f"http://127.0.0.1:{target['port']}") as daemon,
        ):
            times = await trio.to_thread.run_sync(_drawn, found, daemon, rounds)
    drawn, since_click = (middle(values) for values in zip(*times, strict=True))
    rows = HOURS * len(MODELS) * len(CALLERS)
    return [Figure(f"page, usage of {rows:,} rows, drawn", drawn, "ms", "from a click", since_click, Wanted("<", 200))]


def _drawn(path: str, daemon: Daemon, rounds: int) -> list[tuple[float, float]]:
    with watched(path, f"http://127.0.0.1:{daemon.port}/#/jobs") as page:
        return [_draw(page) for _ in range(rounds)]


def _draw(page: Page) -> tuple[float, float]:
    drawn, since_click = page.evaluate(DRAW)
    page.evaluate("location.hash = '#/jobs'")
    page.locator(".window").wait_for()
    return drawn, since_click


def _fill(data_dir: Path) -> None:
    """Store figures of HOURS hours until now, of each model and caller."""
    data_dir.mkdir(parents=True)
    chance = random.Random(1)
    last = int(time.time()) // HOUR * HOUR
    first = last - (HOURS - 1) * HOUR
    groups = [Group(model, caller, "ollama", "/api/chat") for model in MODELS for caller in CALLERS]
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        for begin in range(first, last + 1, 240 * HOUR):
            with store.transaction():
                store.set_note(SINCE, str(first))
                for at in range(begin, min(begin + 240 * HOUR, last + 1), HOUR):
                    figures = {Slot(HOUR, at, group): _some(chance) for group in groups}
                    store.add_usage(figures, [Depth(HOUR, at, 0, chance.randrange(9), chance.randrange(4))])
        store.checkpoint()


def _some(chance: random.Random) -> Figures:
    done = chance.randrange(1, 40)
    waits = [0] * (len(WAITS) + 1)
    waits[chance.randrange(8)] = done
    tokens, busy = 300 * done, 4.0 * done
    return Figures(
        submitted=done, done=done, prompt_tokens=tokens, answer_tokens=tokens, busy_seconds=busy, waits=waits
    )
