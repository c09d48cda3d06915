"""Jobs are found by what people know of them, and what was asked for stays in the page's address."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.page.seen import opened
from tests.support.api import chat, state, submit, submit_many
from tests.support.foreman import Daemon, managed, until

Fresh = Callable[..., Daemon]

MANY = 3000


def rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Jobs").locator(".tr:not(.th)")


def find(page: Page, text: str) -> None:
    page.get_by_label("Job", exact=True).fill(text)
    page.get_by_role("button", name="Find").click()


def test_an_old_job_among_thousands_is_found_by_its_id_a_part_of_it_or_its_custom_id(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    daemon.http.post("/queue/pause")
    ids = submit_many(daemon, (chat(custom_id=f"rev-{n}") for n in range(MANY)))
    opened(page, daemon, "#/jobs")
    for wanted in ("rev-3", ids[3], ids[3].lower(), ids[3][-8:], f"…{ids[3][-6:]}", ids[3][-10:].lower()):
        find(page, wanted)
        expect(page).to_have_url(re.compile(rf"#/jobs/{ids[3]}$"))
        page.go_back()
        expect(page.get_by_label("Job", exact=True)).to_have_value(wanted)
        expect(rows(page).first).to_contain_text("rev-3")
    find(page, "rev-12")  # which is one of its own, and begins others
    expect(page).to_have_url(re.compile(rf"#/jobs/{ids[12]}$"))
    page.go_back()
    expect(rows(page).first).to_contain_text("rev-12")
    expect(page.get_by_role("status").filter(has_text="jobs")).to_have_text("111 jobs")
    find(page, "rev-12*")
    expect(page.get_by_role("status").filter(has_text="jobs")).to_have_text("111 jobs")
    find(page, ids[0][:6])  # all begin so
    expect(rows(page).nth(20)).to_be_visible()
    find(page, "nowhere")
    expect(page.get_by_text("There is no job “nowhere”")).to_be_visible()
    expect(rows(page)).to_have_count(0)


def test_filters_are_in_the_address_and_come_back(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    good, bad = submit(daemon, "x", custom_id="good"), submit(daemon, "#status=400 x", model="b", priority="low")
    worse = submit(daemon, "#status=400 y", model="b")
    until(lambda: [state(daemon, one) for one in (good, bad, worse)] == ["done", "failed", "failed"])
    opened(page, daemon, "#/jobs")
    expect(rows(page)).to_have_count(3)
    page.get_by_label("State", exact=True).select_option("failed")
    expect(rows(page)).to_have_count(2)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Priority", exact=True).select_option("low")
    expect(rows(page)).to_have_count(1)
    expect(page).to_have_url(re.compile(r"#/jobs\?state=failed&priority=low$"))
    rows(page).get_by_role("link").click()
    expect(page.locator("h1 .pill")).to_have_text("failed")
    page.go_back()
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")
    expect(page.get_by_label("Priority", exact=True)).to_have_value("low")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(bad[-8:])
    page.reload()
    expect(rows(page)).to_have_count(1)
    page.go_back()  # one filter less
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_label("Priority", exact=True)).to_have_value("")
    page.get_by_label("Order", exact=True).select_option("ended")
    expect(page).to_have_url(re.compile("order=ended"))
    page.get_by_label("State", exact=True).select_option("done,failed,cancelled,expired")
    expect(rows(page)).to_have_count(3)
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page).to_have_url(re.compile("#/jobs$"))
    expect(page.get_by_label("Order", exact=True)).to_have_value("")


@pytest.mark.parametrize("name", ["short", "model-with-a-long-name"])
def test_a_model_is_filtered_by_any_name_of_its_own(page: Page, fresh: Fresh, name: str) -> None:
    models = [*managed("model-with-a-long-name", aliases=["short", "other"]), *managed("another")]
    daemon = fresh(ollama_url="", models=models)
    submit(daemon, "x", model="other")
    submit(daemon, "x", model="another")
    opened(page, daemon, "#/jobs")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Model", exact=True).fill(name)
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("other")
    expect(page).to_have_url(re.compile(f"model={name}"))


def test_a_filtered_list_stays_true_while_jobs_change(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    running = submit(daemon, "#silent", custom_id="first")
    until(lambda: state(daemon, running) == "working")
    opened(page, daemon, "#/jobs?state=loading,working")
    expect(rows(page).locator(".job")).to_have_text(["first"])
    daemon.http.post(f"/jobs/{running}/cancel")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    submit(daemon, "#silent 2", custom_id="second")
    expect(rows(page).locator(".job")).to_have_text(["second"])
    page.get_by_label("State", exact=True).select_option("")
    page.get_by_label("Order", exact=True).select_option("ended")
    expect(rows(page).locator(".job")).to_have_text(["first"])


def test_an_empty_list_says_why(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon, "#/jobs")
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    page.get_by_label("State", exact=True).select_option("failed")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
