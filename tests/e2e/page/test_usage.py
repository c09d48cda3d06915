"""What the box did, for whom and how fast: the view tells what the server counted, over any period."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from foreman.queue.commands import Prune
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.api import chat, submit_many
from tests.support.foreman import Daemon, until
from tests.support.sites import only_site

Fresh = Callable[..., Daemon]

LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("submitted", "done", "failed", "cancelled", "expired", "loads"), 0),
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "answer_tokens", "busy_seconds"), 0),
    **dict.fromkeys(("wait_p50", "wait_p95", "waiting", "running", "cost")),
}
TITLES = ("Jobs ended", "Tokens", "Tokens written a second", "Busy share of the slots", "Models loaded")
DAY = 86400  # seconds
TOKENS = ("prompt_tokens", "cached_tokens", "answer_tokens")
NAMES = [f"model{number}" for number in range(8)]


def chart(page: Page, title: str) -> Locator:
    return page.locator("figure", has=page.get_by_role("slider", name=title, exact=True))


def last(page: Page, title: str) -> str:
    """Return what a chart says of its last step."""
    slider = page.get_by_role("slider", name=title, exact=True)
    slider.focus()
    page.keyboard.press("End")
    return (slider.get_attribute("aria-valuetext") or "").partition(": ")[2]


class Told:
    """Answers for the server: each step and name has the same figures."""

    def __init__(
        self, *, names: int = 2, most: int = 10_000, since: timedelta = timedelta(days=1000), cost: float | None = None
    ) -> None:
        self._cost = cost
        self.asked: list[dict[str, str]] = []
        self._names, self._most, self._since = NAMES[:names], most, since

    def __call__(self, route: Route) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        self.asked.append(asked)
        now = datetime.now(UTC)
        begin = datetime.fromisoformat(asked["from"])
        end = datetime.fromisoformat(asked["to"]) if "to" in asked else now
        rows = []
        while begin < end:
            for place, name in enumerate(self._names if "by" in asked else [None]):
                figures = {"done": 5 - place % 5, "failed": 1, "answer_tokens": 100, "prompt_tokens": 300, "loads": 2}
                more = {
                    "cached_tokens": 100,
                    "busy_seconds": 8.0 - place,
                    "wait_p50": 1.5,
                    "wait_p95": 20.0,
                    "cost": self._cost,
                }
                rows.append({"from": begin.isoformat(), "by": name, **NOTHING, **figures, **more})
            begin += LENGTHS[asked["step"]]
        if len(rows) > self._most:
            route.fulfill(status=422, json={"error": "too many rows", "code": "field_invalid"})
            return
        since = (now - self._since).isoformat()
        route.fulfill(json={"step": asked["step"], "from": "", "to": "", "since": since, "rows": rows})


def of_jobs(daemon: Daemon) -> Counter[tuple[str, str]]:
    """What the jobs say, by model and figure."""
    found: Counter[tuple[str, str]] = Counter()
    after = None
    while True:
        answer = daemon.http.get("/jobs", params={"limit": 500} | ({"after": after} if after else {})).json()
        for job in answer["jobs"]:
            found[job["model"], job["state"]] += 1
            for name in TOKENS:
                found[job["model"], name] += (job["usage"] or {}).get(name) or 0
        after = answer["next"]
        if after is None:
            return found


def of_usage(daemon: Daemon) -> Counter[tuple[str, str]]:
    """What the figures say, by model and figure."""
    found: Counter[tuple[str, str]] = Counter()
    for row in daemon.http.get("/usage?step=minute&by=model").json()["rows"]:
        for name in ("done", "failed", "cancelled", "expired", *TOKENS):
            found[row["by"], name] += row[name]
    return found


def drawn(page: Page) -> list[str]:
    """What the view says of a split period, but for what counts the time until now."""
    titles = ("Jobs ended", "Tokens", "Tokens written a second", "Wait, 95 % within", "Models loaded")
    parts = [chart(page, title).locator(part) for title in titles for part in ("figcaption", ".readout")]
    return [part.inner_text() for part in [*parts, page.locator("table.sums")]]


def idle(daemon: Daemon) -> bool:
    queue = daemon.http.get("/queue").json()
    return bool(queue["queued"] == 0 and queue["running"] == [])


def prune(daemon: Daemon) -> None:
    """Remove all jobs, as is done once their time is over."""
    daemon.kill()
    with closing(SqliteWriter(daemon.data_dir / "foreman.db")) as store:
        handlers = CommandHandlers(store, JobRules(), only_site(), clock=lambda: time.time() + 8 * DAY)
        while handlers.apply([Prune(most=500)])[0][0][1]:
            pass
    daemon.start()
    assert daemon.http.get("/jobs").json()["jobs"] == []


def restart(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def reload(daemon: Daemon) -> None:
    assert daemon.http.post("/reload").status_code == 200


def test_the_figures_are_those_of_the_jobs_after_a_reload_a_restart_and_a_prune(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=8)
    texts = ("#chunks=3", "#status=400", "#chunks=7", "hello", "#chunks=2")
    jobs = [chat(texts[n % 5], model="aab"[n % 3]) for n in range(3000)]
    submit_many(daemon, jobs)
    until(lambda: idle(daemon), 120)
    counted = of_jobs(daemon)
    assert (counted["a", "done"], counted["a", "failed"]) == (1600, 400)
    assert (counted["b", "done"], counted["b", "failed"]) == (800, 200)
    assert counted["a", "answer_tokens"] > counted["b", "answer_tokens"] > 1000
    opened(page, daemon, "#/usage?period=hour&by=model")
    seen: list[list[str]] = []
    for happens in (None, reload, restart, prune):
        if happens is not None:
            happens(daemon)
        assert of_usage(daemon) == counted, happens
        page.reload()
        expect(page.get_by_text("3,000 jobs ended in this period.")).to_be_visible()
        expect(page.locator("table.sums tbody tr")).to_have_count(2)
        seen.append(drawn(page))
    assert seen[1:] == seen[:-1]


@pytest.mark.parametrize(
    ("period", "step", "steps"),
    [
        ("10 minutes", "minute", 10),
        ("Hour", "minute", 60),
        ("Day", "hour", 24),
        ("Week", "hour", 168),
        ("30 days", "day", 30),
        ("90 days", "day", 90),
        ("400 days", "day", 400),
    ],
)
def test_each_period_has_its_steps_and_a_link(page: Page, shared: Daemon, period: str, step: str, steps: int) -> None:
    told = Told()
    page.route("**/usage?*", told)
    opened(page, shared, "#/usage")
    page.get_by_role("link", name=period, exact=True).click()
    expect(page.get_by_text(f"{6 * steps:,} jobs ended in this period.")).to_be_visible()
    expect(page.get_by_role("link", name=period, exact=True)).to_have_attribute("aria-current", "true")
    assert told.asked[-1]["step"] == step
    slider = page.get_by_role("slider", name="Jobs ended", exact=True)
    expect(slider).to_have_attribute("aria-valuemax", str(steps - 1))
    assert last(page, "Jobs ended") == "5 done, 1 failed"
    assert last(page, "Tokens") == "200 read, 100 from the cache, 100 written"
    assert last(page, "Tokens written a second") == "12.5 tokens"
    assert last(page, "Wait before start") == "half within 1.5 s, 95 % within 20 s"
    assert last(page, "Models loaded") == "2 loads"
    assert re.fullmatch(r"[\d,.]+ %", last(page, "Busy share of the slots"))


def test_it_is_split_by_the_busiest_names_and_the_rest(page: Page, shared: Daemon) -> None:
    page.route("**/usage?*", Told(names=8))
    opened(page, shared, "#/usage?period=minutes")
    page.get_by_label("Split by").select_option("model")
    expect(page).to_have_url(re.compile("by=model"))
    expect(page.locator("table.sums tbody tr")).to_have_count(8)
    assert page.locator("table.sums tbody th").all_inner_texts() == NAMES
    legend = chart(page, "Jobs ended").locator(".legend > span:visible")
    assert legend.all_inner_texts() == [*NAMES[:6], "others"]
    assert last(page, "Jobs ended") == ", ".join(
        [*(f"{6 - n % 5} {name}" for n, name in enumerate(NAMES[:6])), "9 others"]
    )
    assert last(page, "Wait, 95 % within").startswith("20 s model0, 20 s model1")


def test_a_name_leads_to_what_was_done_for_it_alone_and_back(page: Page, shared: Daemon) -> None:
    told = Told()
    page.route("**/usage?*", told)
    opened(page, shared, "#/usage?period=week")
    page.get_by_role("link", name="model1").click()
    expect(page.get_by_text("Only model model1")).to_be_visible()
    expect(page.locator("table.sums tbody tr")).to_have_count(2)
    assert [one.get("model") for one in told.asked[-2:]] == ["model1", "model1"]
    assert told.asked[-1].get("by", told.asked[-2].get("by")) == "caller"  # of what else there is
    page.get_by_role("link", name="All of them").click()
    expect(page.get_by_text("Only model")).to_have_count(0)
    page.go_back()
    expect(page.get_by_text("Only model model1")).to_be_visible()


def test_more_rows_than_one_answer_holds_are_read_in_parts(page: Page, shared: Daemon) -> None:
    told = Told(names=8, most=1000)
    page.route("**/usage?*", told)
    opened(page, shared, "#/usage?period=year&by=model")
    expect(page.locator("table.sums tbody tr")).to_have_count(8)
    assert page.locator("table.sums tbody td:first-of-type").first.inner_text() == "2,000"
    assert any("to" in one for one in told.asked)


def test_costs_are_shown_where_there_are_prices(page: Page, shared: Daemon) -> None:
    page.route("**/usage?*", Told())
    opened(page, shared, "#/usage?period=minutes")
    expect(page.get_by_text("60 jobs ended in this period.", exact=True)).to_be_visible()
    expect(page.get_by_role("columnheader", name="Cost")).to_be_hidden()
    page.unroute("**/usage?*")
    page.route("**/usage?*", Told(cost=123.25))
    page.reload()
    expect(page.get_by_text("60 jobs ended in this period. Cost: 1,232.50.")).to_be_visible()
    expect(page.locator("table.sums tbody tr").first.locator("td").last).to_have_text("1,232.50")


def test_the_time_before_counting_began_is_not_drawn_as_nothing(page: Page, shared: Daemon) -> None:
    page.route("**/usage?*", Told(since=timedelta(days=3)))
    opened(page, shared, "#/usage?period=month")
    expect(page.get_by_text(re.compile("Counting began "))).to_be_visible()
    slider = page.get_by_role("slider", name="Jobs ended", exact=True)
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("no figures$"))


def test_nothing_done_and_nothing_read_are_told_apart(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon, "#/usage")
    expect(page.get_by_text("No job ended in this period.")).to_be_visible()
    expect(page.locator("table.sums")).to_be_hidden()
    page.route("**/usage?*", lambda route: route.fulfill(status=503, json={"error": "busy", "code": "busy"}))
    opened(page, daemon, "#/usage?period=week")
    expect(page.get_by_text("busy", exact=True)).to_be_visible()
    expect(chart(page, "Jobs ended").locator("strong")).to_have_text("–")


@pytest.mark.parametrize("view", ["#/usage?period=week", "#/usage?period=month&by=model"])
def test_it_fits_every_screen_and_everybody_can_use_it(page: Page, shared: Daemon, view: str) -> None:
    page.route("**/usage?*", Told(names=8))
    opened(page, shared, view)
    expect(page.locator("table.sums tbody tr")).to_have_count(8)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, width
        assert covered(page) == [], width
