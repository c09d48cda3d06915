"""What is chosen in the list of jobs is seen, taken away, kept in the address, and saved under names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.api import chat, state, submit, submit_many
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

LATER = "2090-12-24T18:00:00Z"


def rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Jobs").locator(".tr:not(.th)")


def test_filters_are_chosen_shown_as_chips_and_come_back(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=1, full_text=True)
    bad = submit(daemon, "#status=400 why is  the sky blue", model="b", custom_id="bad", endpoint="/api/generate")
    body, headers = chat("#chunks=4 name three rivers", metadata={"team": "a=b"}), {"X-Foreman-Caller": "alice"}
    good = str(daemon.http.post("/jobs", json=body, headers=headers).json()["job_id"])
    until(lambda: [state(daemon, one) for one in (good, bad)] == ["done", "failed"])
    opened(page, daemon, "#/jobs")
    expect(rows(page)).to_have_count(2)
    expect(rows(page).first).to_contain_text("name three rivers")
    expect(rows(page).first.locator(".tokens")).to_have_text(re.compile(r"^[1-9]$"))
    expect(page.get_by_role("button", name="Delete these")).to_be_hidden()
    page.get_by_text("More", exact=True).click()
    expect(page.locator("#known-error_code option")).to_have_count(1)
    expect(page.locator("#known-caller option")).to_have_attribute("value", "alice")
    page.get_by_label("Words", exact=True).fill("RIVER* three")
    page.keyboard.press("Tab")
    expect(rows(page).locator(".prompt")).to_have_text(["#chunks=4 name three rivers"])
    offered = page.get_by_role("group", name="All jobs found").get_by_role("button")
    expect(offered).to_have_text(["Delete these"])
    page.get_by_role("button", name="Remove Words").click()
    for label, value, left in (("Caller", "alice", 1), ("Error code", "target_refused", 0)):
        page.get_by_label(label, exact=True).fill(value)
        page.keyboard.press("Tab")
        expect(rows(page)).to_have_count(left)
    page.get_by_label("Submitted", exact=True).select_option("hour")
    chips = page.get_by_role("list", name="Chosen").locator(".chip")
    expect(chips).to_have_text(["Submitted in the last hour×", "Caller alice×", "Error code target_refused×"])
    expect(page).to_have_url(re.compile(r"#/jobs\?within=hour&caller=alice&error_code=target_refused$"))
    page.get_by_role("button", name="Remove Caller alice").click()
    expect(rows(page).locator(".job")).to_have_text(["bad"])
    expect(offered).to_have_text(["Retry these", "Delete these"])
    expect(page.get_by_role("button", name="Remove Submitted in the last hour")).to_be_focused()
    page.go_back()
    expect(chips).to_have_count(3)
    page.go_forward()
    expect(rows(page).locator(".job")).to_have_text(["bad"])
    page.reload()
    expect(chips).to_have_count(2)
    page.get_by_role("button", name="Clear all").click()
    expect(page).to_have_url(re.compile(r"#/jobs$"))
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("Control+k")
    page.keyboard.type("river* three")
    page.get_by_role("option", name="Find “river* three” in prompts and answers").click()
    expect(rows(page).locator(".prompt")).to_have_text(["#chunks=4 name three rivers"])
    page.get_by_role("button", name="Remove Words").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Ended", exact=True).select_option("week")
    page.get_by_label("Metadata", exact=True).fill("team=a=b")
    page.keyboard.press("Tab")
    expect(rows(page).locator(".prompt")).to_have_text(["#chunks=4 name three rivers"])
    with page.expect_download() as got:
        page.get_by_role("button", name="Export NDJSON").click()
    assert got.value.suggested_filename.endswith(".ndjson")
    [line] = got.value.path().read_text().splitlines()
    assert json.loads(line)["job_id"] == good
    target = daemon.http.get(f"/jobs/{good}").json()["target"]
    page.goto(f"{daemon.url}/#/jobs?target={target}&error_code=target_refused")
    with page.expect_download() as got:
        page.get_by_role("button", name="Export CSV").click()
    assert len(got.value.path().read_text().splitlines()) == 2  # a head and one job
    page.goto(f"{daemon.url}/#/jobs?created_before=2001-01-01T00:00:00Z&endpoint=/api/generate")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    page.get_by_role("button", name=re.compile("Remove Submitted before")).click()
    expect(rows(page).locator(".job")).to_have_text(["bad"])


def test_what_is_found_is_acted_on_and_nothing_else(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    submit_many(daemon, [*(chat(custom_id=f"eval-{n}", not_before=LATER) for n in range(12)), chat(not_before=LATER)])
    for odd in ("metadata=x", "within=2h", "ended=bogus"):  # a filter is refused, not left out
        opened(page, daemon, f"#/jobs?state=queued&{odd}")
        expect(page.locator("main")).to_contain_text("must be")
        expect(page.get_by_role("button", name=re.compile("Cancel these|Export CSV"))).to_be_hidden()
    opened(page, daemon, "#/jobs?state=queued&metadata=run=")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    expect(page.get_by_role("button", name="Export CSV")).to_be_hidden()
    page.goto(f"{daemon.url}/#/jobs/%")
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()
    opened(page, daemon, "#/jobs?q=rivers")
    expect(page.locator("main")).to_contain_text("full_text")  # is off: the page says what to do
    page.goto(f"{daemon.url}/#/jobs?state=queued&find=eval-1")
    expect(page.get_by_role("status").filter(has_text="jobs")).to_have_text("3 jobs")  # 1, 10 and 11
    page.get_by_role("button", name="Cancel these").click()
    dialog = page.get_by_role("dialog", name="Cancel 3 jobs?")
    expect(dialog).to_contain_text("All with state queued, job eval-1.")
    dialog.get_by_role("button", name="Cancel 3 jobs").click()
    expect(page.get_by_text("3 jobs cancelled.")).to_be_visible()
    assert daemon.http.get("/queue").json()["queued"] == 10


def test_views_are_saved_renamed_replaced_and_deleted(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    submit(daemon, "x", not_before=LATER, priority="low")
    opened(page, daemon, "#/jobs")
    views = page.get_by_role("group", name="Saved views")
    links = views.get_by_role("link")
    built_in = ["Failed in the last 24 hours", "Running", "Waiting"]
    expect(links).to_have_text(built_in)
    links.nth(0).click()
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")
    expect(page.locator(".chip").nth(1)).to_have_text("Ended in the last 24 hours×")
    expect(links.nth(0)).to_have_attribute("aria-current", "true")
    expect(views.get_by_role("button")).to_have_count(0)
    page.goto(f"{daemon.url}/#/jobs?priority=low")
    expect(rows(page)).to_have_count(1)
    dialog = page.get_by_role("dialog", name="this view")
    views.get_by_role("button", name="Save view").click()
    expect(dialog).to_contain_text("Saved in this browser only.")
    assert serious(page) == []
    dialog.get_by_label("Name").fill("Later ones")
    page.keyboard.press("Enter")
    expect(links).to_have_text([*built_in, "Later ones"])
    page.get_by_label("State", exact=True).select_option("queued")
    views.get_by_role("button", name="Save view").click()
    dialog.get_by_role("button", name="Replace").click()  # the one that was open
    page.reload()
    expect(links.nth(3)).to_have_attribute("aria-current", "true")
    expect(links.nth(3)).to_have_attribute("href", "#/jobs?state=queued&priority=low")
    views.get_by_role("button", name="Rename").click()
    dialog.get_by_label("Name").fill("Low")
    dialog.get_by_role("button", name="Rename").click()
    expect(links).to_have_text([*built_in, "Low"])
    views.get_by_role("button", name="Delete view").click()
    expect(links).to_have_text(built_in)
    page.get_by_role("button", name="Undo").click()
    expect(links).to_have_text([*built_in, "Low"])
    page.get_by_text("More", exact=True).click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, width
        assert covered(page) == [], width
