"""What a page says when Foreman is gone or does not answer, and when its target is or does not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.page.seen import moving, opened
from tests.support.api import state, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, until

Fresh = Callable[..., Daemon]

CHAT = {"chat": "0123456789", "title": "t", "column": "0", "turn": "0", "step": "0"}
VIEWS = ("", "#/jobs", "#/new", "#/jobs/{running}")


@pytest.fixture
def own() -> Iterator[Upstream]:
    """An upstream that a test may stop."""
    with an_upstream("--models", "a,b") as upstream:
        yield upstream


@contextmanager
def four_views(browser: Browser, daemon: Daemon, running: str) -> Iterator[list[Page]]:
    """The four views, each in a window of its own, so that all of them are seen at once."""
    pages = []
    for view in VIEWS:
        page = browser.new_context().new_page()
        pages.append(opened(page, daemon, view.format(running=running)))
    yield pages
    for page in pages:
        page.context.close()


def at_work(daemon: Daemon) -> str:
    running = submit(daemon, "#chunks=2000 #every=0.1 text that goes on")
    until(lambda: state(daemon, running) == "working")
    return running


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_whoever_looks_hears_within_five_seconds(page: Page, fresh: Fresh) -> None:
    opened(page, fresh())
    every, timeout = page.evaluate("import('/static/link.js').then((link) => [link.EVERY, link.TIMEOUT])")
    assert every + timeout < 5000
    silent = page.evaluate("import('/static/link.js').then((link) => link.SILENT)") * 1000
    looked = 1000  # ms after which /healthz has a target asked again, see foreman/actors/inventory.py
    assert every + looked + silent + every < 5000


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_no_view_of_a_dead_foreman_says_that_anything_goes_on(browser: Browser, fresh: Fresh, how: str) -> None:
    daemon = fresh()
    running = at_work(daemon)
    with four_views(browser, daemon, running) as pages:
        now, jobs, _, one = pages
        expect(now.locator(".job .pill")).to_have_text("working")
        expect(now.locator(".cards")).to_contain_text("up")
        if how == "killed":
            daemon.kill()
        with stopped(daemon.pid) if how == "stopped" else _nothing():
            for page in pages:
                expect(page.locator("#link")).to_have_text("no answer")
                expect(page.get_by_role("alert").filter(has_text="Foreman does not answer")).to_be_visible()
                assert moving(page) == []
            expect(now.locator(".cards strong")).to_have_text(["–"] * 5)
            expect(now.get_by_role("heading", name="Running when last heard")).to_be_visible()
            expect(now.get_by_role("heading", name="Waiting when last heard")).to_be_visible()
            expect(one.get_by_role("heading", level=1)).to_contain_text("when last heard")
            expect(jobs.get_by_text("1 job when last heard")).to_be_visible()
            time = now.locator(".job .time")
            before = time.inner_text()
            stands = now.evaluate("import('/static/clock.js').then((clock) => clock.now())")
            with now.expect_event("requestfailed", lambda request: "/healthz" in request.url):
                pass  # a second or more goes by
            assert time.inner_text() == before
            assert now.evaluate("import('/static/clock.js').then((clock) => clock.now())") == stands
        if how == "killed":
            daemon.start()
        for page in pages:
            expect(page.locator("#link")).to_have_text("live")
            expect(page.locator("#notice")).to_be_hidden()
        expect(now.locator(".cards strong").first).to_have_text("up")
        expect(now.locator(".job .answer")).to_contain_text("w0 w1")  # followed anew
        expect(one.locator(".answer")).to_contain_text("w0 w1")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@pytest.mark.parametrize("how", ["gone", "stopped"])
def test_a_target_that_is_away_is_shown_in_every_view_while_nothing_runs(
    browser: Browser, fresh: Fresh, own: Upstream, how: str
) -> None:
    daemon = fresh(ollama_url=own.url)
    done = submit(daemon, "x")
    until(lambda: state(daemon, done) == "done")
    with four_views(browser, daemon, done) as pages:
        now = pages[0]
        expect(now.locator(".cards strong").nth(1)).to_have_text("a")
        if how == "gone":
            own.stop()
        with stopped(own.pid) if how == "stopped" else _nothing():
            for page in pages:
                expect(page.locator("#link")).to_have_text({"gone": "target away", "stopped": "target silent"}[how])
                words = {"gone": "A target is away: ", "stopped": "A target does not answer."}[how]
                expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
            for page in pages:  # in the end one that says nothing is taken to be away too
                expect(page.locator("#link")).to_have_text("target away")
                expect(page.locator("body")).not_to_contain_text("reachable")
            expect(now.locator(".cards strong").first).to_have_text("away")
            expect(now.locator(".cards strong").nth(1)).to_have_text("–")
        if how == "gone":
            own.start()
        for page in pages:
            expect(page.locator("#link")).to_have_text("live")
        expect(now.locator(".cards strong").first).to_have_text("up")


def test_what_is_asked_of_a_dead_foreman_says_so(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon, "#/new")
    expect(page.get_by_label("Model")).to_have_value("a")
    page.get_by_label("Prompt", exact=True).fill("hello")
    daemon.kill()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert").filter(has_text="try again when it is back")).to_be_visible()
    daemon.start()
    expect(page.locator("#link")).to_have_text("live")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h1 .pill")).to_have_text("done")


def test_what_was_opened_while_foreman_was_dead_is_read_once_it_is_back(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    [one, other] = [submit(daemon, text) for text in ("hello there", "hello moon")]
    chat = submit(daemon, "how do", custom_id="chat-0123456789-0-0", metadata=CHAT)
    until(lambda: [state(daemon, job) for job in (one, other, chat)] == ["done"] * 3)
    views = {
        f"#/jobs/{one}": "hello there",
        f"#/compare/{one}/{other}": "moon",
        f"#/compare/{one}": "hello moon",
        f"#/new?from={one}": "Prompt",
        "#/playground/0123456789": "how do",
    }
    pages = [opened(page.context.new_page(), daemon) for _ in views]
    daemon.kill()
    for window, view in zip(pages, views, strict=True):
        window.evaluate("(view) => { location.hash = view }", view)
        expect(window.locator("main")).to_contain_text(re.compile("does not answer|cannot be compared"))
        expect(window.locator(".card:empty:visible")).to_have_count(0)
    daemon.start()
    for window, words in zip(pages, views.values(), strict=True):
        expect(window.locator("#link")).to_have_text("live")
        expect(window.locator("main")).to_contain_text(words)
        expect(window.get_by_text("does not answer").filter(visible=True)).to_have_count(0)
    expect(pages[-2].get_by_label("Prompt", exact=True)).to_have_value("hello there")
    expect(pages[-2].locator("#models option")).to_have_count(3)
    expect(pages[-1].locator(".chat-models option")).to_have_text(["a", "b", "c"])


def test_a_clock_that_goes_wrong_here_makes_no_time_wrong(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    at_work(daemon)
    page.clock.install(time="2020-01-01T00:00:00")  # as on a machine whose clock nobody has set
    page.clock.resume()
    opened(page, daemon)
    expect(page.locator(".job .time")).to_have_text(re.compile(r"^\d+(\.\d)? s$|ms$"))


def test_while_a_target_is_away_jobs_and_chats_for_its_models_begin(page: Page, fresh: Fresh, own: Upstream) -> None:
    daemon = fresh(ollama_url=own.url)
    own.stop()
    until(lambda: daemon.http.get("/healthz").json()["degraded"])
    opened(page, daemon, "#/new", "away")
    expect(page.get_by_label("Model")).to_have_value("a")
    page.get_by_label("Prompt", exact=True).fill("later")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h1 .pill")).to_have_text("queued")
    opened(page, daemon, "#/playground", "away")
    expect(page.locator(".chat-models option")).to_have_text(["a", "b"])
    expect(page.get_by_text("Models cannot be listed")).to_have_count(0)
    opened(page, daemon, "#/targets", "away")
    expect(page.get_by_role("button", name="Drain")).to_be_visible()
    expect(page.get_by_role("button", name="Load")).to_be_hidden()  # there is nobody who would do it
