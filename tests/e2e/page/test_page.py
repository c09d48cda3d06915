"""The page in a real browser: what somebody sees and does who never read the docs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.seen import caught_up, opened, serious, wider
from tests.support.api import chat, deliveries, job, state, submit, submit_many
from tests.support.foreman import Daemon, Upstream, until

Fresh = Callable[..., Daemon]

MANY = 2000
DRAWN = 60  # rows at most, however many jobs there are


def test_a_job_from_the_form_to_its_answer_without_a_reload(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon)
    expect(page.get_by_text("Nothing runs.")).to_have_count(0)  # said by the style sheet, for eyes
    expect(page.get_by_text("No job has ended yet.")).to_be_visible()
    expect(page.get_by_role("table", name="Recent jobs")).to_have_count(0)
    page.evaluate("window.same = true")
    page.get_by_role("link", name="New job").click()
    expect(page.get_by_label("Model")).to_have_value("a")
    page.get_by_label("Prompt", exact=True).fill("#chunks=60 #every=0.05 say something")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h1 .pill")).to_have_text("working")
    answer = page.get_by_role("region", name="Answered")
    expect(answer).to_contain_text("w0 w1 w2")
    expect(answer.locator("[aria-busy]")).to_be_visible()
    assert state(daemon, page.url.rpartition("/")[2]) == "working"  # what is seen is seen while it comes
    expect(page.locator("h1 .pill")).to_have_text("done")
    expect(answer).to_contain_text("w58 w59")
    steps = page.get_by_role("region", name="Timeline").locator(".steps .pill")
    expect(steps).to_have_text(["queued", "loading", "working", "done"])
    expect(page.get_by_role("region", name="Asked")).to_contain_text("say something")
    assert page.evaluate("window.same") is True


def test_what_waits_can_be_cancelled_and_the_queue_paused(page: Page, fresh: Fresh) -> None:
    daemon = fresh(give_way=False)
    running = submit(daemon, "#silent")
    until(lambda: state(daemon, running) == "working")
    first, second = submit(daemon, priority="high", model="b"), submit(daemon, custom_id="mine")
    opened(page, daemon)
    waiting = page.get_by_role("region", name="Waiting").locator("li")
    expect(waiting).to_have_count(2)
    expect(waiting.first).to_contain_text(first[-8:])
    expect(waiting.last).to_contain_text("mine")
    page.get_by_role("button", name="Cancel job mine").click()
    expect(waiting).to_have_count(1)
    assert state(daemon, second) == "cancelled"
    expect(page.get_by_role("table", name="Recent jobs")).to_contain_text("cancelled")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="Waiting, paused")).to_be_visible()
    assert daemon.http.get("/queue").json()["paused"] is True
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Waiting", exact=True)).to_be_visible()
    page.get_by_role("region", name="Running").get_by_role("link").first.click()
    expect(page.locator("h1 .pill")).to_have_text("working")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1 .pill")).to_have_text("cancelled")
    assert state(daemon, running) == "cancelled"


def test_a_failed_job_says_why_and_is_tried_again(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=2)
    job_id = submit(daemon, "#break=2 x")
    until(lambda: state(daemon, job_id) == "failed")
    opened(page, daemon, f"#/jobs/{job_id}")
    expect(page.get_by_role("alert")).to_contain_text("target_lost")
    expect(page.locator(".steps .bad")).to_have_count(2)
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("h1 .pill")).to_have_text("done")
    expect(page.get_by_role("region", name="Answered")).to_contain_text("w0 w1 w2")


def test_artifacts_and_deliveries_are_shown(page: Page, fresh: Fresh) -> None:
    daemon = fresh(webhook_allow="127.0.0.1", webhook_retries=0)
    job_id = submit(daemon, "#image", state_webhook_url="http://127.0.0.1:9/hook", webhook_events=["done"])
    until(lambda: state(daemon, job_id) == "done")
    opened(page, daemon, f"#/jobs/{job_id}")
    picture = page.get_by_role("img", name="image-0.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
    with page.expect_download() as download:
        page.get_by_role("region", name="Artifacts").get_by_role("button", name="Download image-0.png").click()
    assert download.value.suggested_filename == "image-0.png"
    hooks = page.get_by_role("region", name="Webhooks")
    expect(hooks).to_contain_text("http://127.0.0.1:9/hook")
    until(lambda: page.reload() and "dead" in hooks.inner_text())
    [before] = deliveries(daemon, job_id)
    hooks.get_by_role("button", name="Redeliver").click()
    until(lambda: deliveries(daemon, job_id)[0]["ended_at"] not in (None, before["ended_at"]))


def test_thousands_of_jobs_stream_by_and_none_is_missed(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=8)
    opened(page, daemon, "#/jobs")
    ids = submit_many(daemon, (chat("#chunks=1") for _ in range(MANY)))
    rows = page.get_by_role("table", name="Jobs").locator(".tr:not(.th)")
    view = page.get_by_role("region", name="The jobs found")
    status = page.get_by_role("status").filter(has_text="jobs")

    def whole() -> bool:
        """Where the feed lagged behind a page that was read anew, older jobs are read when somebody looks."""
        view.evaluate("view => { view.scrollTop = view.scrollHeight; }")
        return re.fullmatch(rf"{MANY:,}( newest)? jobs", status.inner_text()) is not None

    until(whole, 60)
    until(lambda: daemon.http.get("/queue").json()["queued"] == 0, 120)
    for job_id in ids[-8:]:
        daemon.http.get(f"/jobs/{job_id}/stream")
    caught_up(page, daemon)
    seen = set()
    for place in range(0, MANY, 400):
        view.evaluate("(view, top) => { view.scrollTop = top; }", place * 44)
        expect(rows.first).to_have_attribute("aria-rowindex", re.compile(rf"^{max(2, place - 8)}$|^{place - 9}$"))
        assert 0 < rows.count() < DRAWN
        seen |= set(rows.locator(".pill").all_inner_texts())
    assert seen == {"done"}


def test_a_restart_is_survived_and_what_happened_is_right(page: Page, fresh: Fresh, upstream: Upstream) -> None:
    daemon = fresh()
    kept = submit(daemon, "#slow=6 #echo kept by the disk")
    until(lambda: state(daemon, kept) == "working")
    opened(page, daemon, f"#/jobs/{kept}")
    page.evaluate("window.same = true")
    daemon.kill()
    expect(page.locator("#link")).to_have_attribute("data-state", "dead")
    daemon.start()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.locator("h1 .pill")).to_have_text("done")
    expect(page.get_by_role("region", name="Answered")).to_contain_text("kept by the disk")
    steps = page.get_by_role("region", name="Timeline").locator(".steps .pill")
    expect(steps).to_have_text(["queued", "loading", "working", "queued", "loading", "working", "done"])
    another = submit(daemon, "after it")
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator(f'[data-id="{another}"] .pill')).to_have_text("done")
    assert page.evaluate("window.same") is True


def test_the_token_is_asked_for_and_remembered(page: Page, fresh: Fresh) -> None:
    daemon = fresh(token="open sesame")
    page.goto(daemon.url)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Token").fill("wrong")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog).to_contain_text("The token was not accepted")
    dialog.get_by_label("Token").fill("open sesame")
    dialog.get_by_role("button", name="Open").click()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    page.reload()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_anybodys_way(page: Page, fresh: Fresh, theme: str) -> None:
    daemon = fresh(webhook_allow="127.0.0.1", max_attempts=1)
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for view in ("", "#/jobs"):  # with nothing in it
        opened(page, daemon, view)
        assert serious(page) == []
    done = submit(daemon, "#think #image x", state_webhook_url="http://127.0.0.1:9/")
    failed = submit(daemon, f"#break=1 {theme}")
    until(lambda: (state(daemon, done), state(daemon, failed)) == ("done", "failed"))
    running = submit(daemon, "#chunks=1000 #every=0.1")
    submit(daemon, "waits", priority="high")
    until(lambda: job(daemon, running)["state"] == "working")
    for view in ("", "#/jobs", "#/new", f"#/jobs/{done}", f"#/jobs/{failed}", f"#/jobs/{running}"):
        opened(page, daemon, view)
        expect(page.locator("main h1")).to_have_count(1)
        expect(page.locator(".card, .window").first).to_be_visible()
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert serious(page) == []
            assert wider(page) <= 0
    daemon.http.post(f"/jobs/{running}/cancel")


def test_a_request_that_nobody_can_read_as_words_is_shown_as_it_is(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=1)
    job_id = daemon.http.post("/jobs", json={"model": "a", "messages": "nonsense"}).json()["job_id"]
    opened(page, daemon, f"#/jobs/{job_id}")
    expect(page.locator("pre").first).to_contain_text('"messages": "nonsense"')


def test_it_is_used_by_keyboard_alone(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for name in ("Foreman", "Now", "Jobs", "Batches", "New job"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(page.get_by_label("Model")).to_have_value("a")
    page.keyboard.type("hello")
    for _ in range(4):  # the system prompt, more, being told, and there it is
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Submit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1 .pill")).to_have_text("done")
