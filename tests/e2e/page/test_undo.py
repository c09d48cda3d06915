"""A cancel of queued jobs is taken back from the note that tells of it, and only that cancel."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import opened, serious
from tests.support.api import chat, job, state, submit, submit_many
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

LATER = "2090-12-24T18:00:00Z"


def test_a_cancelled_job_is_queued_again_as_it_was_from_every_view(page: Page, fresh: Fresh) -> None:
    daemon = fresh(give_way=False)
    running = submit(daemon, "#silent", custom_id="runs")
    until(lambda: state(daemon, running) == "working")
    first, second = submit(daemon, "one", custom_id="first"), submit(daemon, "two", custom_id="second")
    later = submit(daemon, "x", not_before=LATER, custom_id="later")
    before = [job(daemon, one) for one in (first, second, later)]
    opened(page, daemon)
    waiting = page.get_by_role("region", name="Waiting").locator("ol").first.get_by_role("link")
    expect(waiting).to_have_text(["a first", "a second"])
    note = page.locator(".toast", has=page.get_by_role("button", name="Undo"))
    page.get_by_role("button", name="Cancel job first").click()
    expect(note).to_contain_text("first is cancelled.")
    expect(waiting).to_have_text(["a second"])
    assert serious(page) == []
    note.get_by_role("button").click()
    expect(waiting).to_have_text(["a first", "a second"])
    opened(page, daemon, f"#/jobs/{later}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("h1 .pill")).to_have_text("cancelled")
    page.keyboard.press("Control+z")
    expect(page.locator("h1 .pill")).to_have_text("queued")
    timeless = [{**one, "eta_seconds": None} for one in before]
    assert [{**job(daemon, one), "eta_seconds": None} for one in (first, second, later)] == timeless
    opened(page, daemon, f"#/jobs/{running}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("h1 .pill")).to_have_text("cancelled")
    expect(note).to_have_count(0)  # it ran


def test_only_what_this_cancel_ended_comes_back_and_the_note_waits_for_the_keyboard(page: Page, fresh: Fresh) -> None:
    daemon = fresh(give_way=False)
    running = submit(daemon, "#silent")
    until(lambda: state(daemon, running) == "working")
    others = submit_many(daemon, (chat("x", not_before=LATER) for _ in range(3)))
    for one in others:
        daemon.http.post(f"/jobs/{one}/cancel")
    mine = submit_many(daemon, (chat("x", not_before=LATER) for _ in range(5)))
    page.clock.install()
    opened(page, daemon, "#/jobs?model=a")
    page.get_by_role("button", name="Cancel these").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 6 jobs").click()
    note = page.locator(".toast", has_text="6 jobs cancelled, 3 skipped.")
    undo = note.get_by_role("button", name="Undo")
    undo.focus()
    page.clock.run_for(60_000)
    expect(undo).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("5 jobs are queued again as they were.")).to_be_visible()
    assert [state(daemon, one) for one in (running, *others)] == ["cancelled"] * 4
    assert [state(daemon, one) for one in mine] == ["queued"] * 5
    page.clock.run_for(7_000)
    expect(page.locator(".toast")).to_have_count(0)
