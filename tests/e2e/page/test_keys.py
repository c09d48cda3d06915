"""The page by keys: shortcuts, their dialog, and the menu of commands."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import opened, serious, wider
from tests.support.api import state, submit
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]


def test_lists_views_and_jobs_are_reached_by_keys_alone(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    daemon.http.post("/queue/pause")
    jobs = [submit(daemon, custom_id=f"job-{number}") for number in range(3)]
    opened(page, daemon)
    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="job-2")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="job-2")).to_be_focused()
    row = page.locator(f'[data-id="{jobs[2]}"]')
    assert row.evaluate("one => one.scrollHeight <= one.clientHeight")  # no style of another view moves its cells
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.get_by_role("link", name="job-1")).to_be_focused()
    page.keyboard.press("c")
    until(lambda: state(daemon, jobs[1]) == "cancelled")
    expect(page.locator(f'[data-id="{jobs[1]}"]')).to_contain_text("cancelled")
    page.keyboard.press("r")
    until(lambda: state(daemon, jobs[1]) == "queued")
    page.keyboard.press("Control+j")  # the browser's own
    page.keyboard.press("Enter")
    expect(page.locator("h1 .pill")).to_have_text("queued")
    page.keyboard.press("c")
    expect(page.locator("h1 .pill")).to_have_text("cancelled")
    page.keyboard.press("/")
    expect(page.locator(".find input")).to_be_focused()
    page.keyboard.type("gbnjc?")
    expect(page.locator(".find input")).to_have_value("gbnjc?")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New job")).to_be_visible()


def test_the_dialog_of_shortcuts_shows_all_and_switches_them_off(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/usage")
    page.keyboard.press("?")
    shortcuts = page.get_by_role("dialog", name="Keyboard shortcuts")
    for words in ("Usage", "Next entry or job", "Cancel the job", "Commands"):
        expect(shortcuts).to_contain_text(words)
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert wider(page) <= 0
    assert serious(page) == []
    shortcuts.get_by_label("Single keys work on this page").uncheck()
    page.keyboard.press("Escape")
    expect(shortcuts).to_be_hidden()
    page.keyboard.press("?")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    expect(shortcuts).to_be_hidden()
    page.get_by_role("button", name="You and this page").click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    shortcuts.get_by_label("Single keys work on this page").check()
    shortcuts.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New job")).to_be_visible()


def test_the_menu_finds_views_jobs_models_settings_and_what_can_be_done(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    job_id = submit(daemon, custom_id="summary-of-may", not_before="2090-01-01T00:00:00Z")
    opened(page, daemon, f"#/jobs/{job_id}")
    expect(page.locator("h1 .pill")).to_have_text("queued")
    field = page.get_by_role("combobox", name="Command")
    listed = page.get_by_role("listbox", name="Commands").get_by_role("option")
    option = listed.and_(page.get_by_role("option", selected=True))

    def choose(words: str, title: str) -> None:
        page.keyboard.press("Control+k")
        expect(field).to_be_focused()
        page.keyboard.type(words)
        expect(option).to_contain_text(title)
        page.keyboard.press("Enter")
        expect(field).to_be_hidden()

    page.keyboard.press("Control+k")
    expect(field).to_have_attribute("aria-activedescendant", "menu-0")
    page.keyboard.press("ArrowDown")
    expect(option).to_contain_text("Jobs")
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert wider(page) <= 0
    assert serious(page) == []
    page.keyboard.type("qqqq")
    expect(listed).to_have_text(["Find “qqqq” among the jobs"])
    page.keyboard.press("Escape")
    choose("copy id", "Copy id")
    expect(page.locator(".toast")).to_contain_text("The id")
    choose("usa", "Usage")
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    choose("summary-of", "summary-of-may")
    expect(page.locator("h1 .pill")).to_have_text("queued")
    choose("stall_time", "stall_timeout")
    expect(page.get_by_label("Find")).to_have_value("stall_timeout")
    choose("pause", "Pause the queue")
    until(lambda: daemon.http.get("/queue").json()["paused"])
    choose("dark", "Theme: dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
