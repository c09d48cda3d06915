"""What is done to jobs from the page: cancelled, deleted, copied, found again where they wait."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.conftest import BOX
from tests.e2e.page.seen import opened
from tests.support.api import chat, job, state, submit, submit_many
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

ANSWER = "first line\n\n    indented  \n<b>last</b> line \n"


def test_what_runs_is_cancelled_from_its_card(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=2)
    kept, ended = submit(daemon, "#silent one"), submit(daemon, "#silent two", custom_id="enough")
    until(lambda: (state(daemon, kept), state(daemon, ended)) == ("working", "working"))
    opened(page, daemon)
    cards = page.get_by_role("region", name="Running").get_by_role("article")
    expect(cards).to_have_count(2)
    page.get_by_role("button", name="Cancel job enough").click()
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text(kept[-8:])
    assert state(daemon, ended) == "cancelled"
    expect(page.get_by_role("table", name="Recent jobs")).to_contain_text("enough")


def test_a_delete_asks_first_and_is_answered_by_keyboard(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    job_id = submit(daemon, "x", custom_id="precious")
    until(lambda: state(daemon, job_id) == "done")
    opened(page, daemon, f"#/jobs/{job_id}")
    delete = page.get_by_role("button", name="Delete", exact=True)
    dialog = page.get_by_role("dialog", name="Delete this job?")
    delete.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("precious")
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(delete).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # keeps it
    expect(dialog).to_be_hidden()
    assert state(daemon, job_id) == "done"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert daemon.http.get(f"/jobs/{job_id}").status_code == 404


def test_all_jobs_that_a_filter_selects_are_acted_on_after_a_question(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    daemon.http.post("/queue/pause")
    submit_many(daemon, (chat(model="ab"[n % 2]) for n in range(500)))
    opened(page, daemon, "#/jobs")
    expect(page.get_by_role("status").filter(has_text="jobs")).to_have_text("200 newest jobs")
    cancel = page.get_by_role("button", name="Cancel these")
    expect(cancel).to_be_hidden()  # without a filter it would be all jobs there are
    page.get_by_label("Model", exact=True).fill("a")
    page.get_by_label("Model", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel 250 jobs?")
    cancel.click()
    expect(dialog).to_contain_text("All with model a. Running ones are stopped.")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    assert daemon.http.get("/queue").json()["queued"] == 500
    cancel.click()
    dialog.get_by_role("button", name="Cancel 250 jobs").click()
    expect(page.get_by_text("250 jobs cancelled.")).to_be_visible()
    assert daemon.http.get("/queue").json()["queued"] == 250
    cancel.click()
    expect(page.get_by_text("None of these can be cancelled")).to_be_visible()
    page.get_by_label("Model", exact=True).fill("")
    offered = page.get_by_role("group", name="All jobs found").get_by_role("button")
    page.get_by_label("State", exact=True).select_option("queued")
    expect(offered).to_have_text(["Cancel these"])
    page.get_by_label("State", exact=True).select_option("")
    page.get_by_label("Order", exact=True).select_option("ended")
    expect(page.get_by_text("200 last ended jobs")).to_be_visible()
    expect(offered).to_have_text(["Retry these", "Delete these"])
    offered.last.click()  # not those of b, which are not listed
    page.get_by_role("dialog", name="Delete 250 jobs?").get_by_role("button", name="Delete 250 jobs").click()
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    assert daemon.http.get("/queue").json()["queued"] == 250


def test_ids_and_answers_are_copied_over_plain_http_and_where_there_is_a_clipboard(page: Page, fresh: Fresh) -> None:
    daemon = fresh(allowed_hosts=BOX)
    job_id = submit(daemon, "x")
    until(lambda: state(daemon, job_id) == "done")
    result = {"message": {"role": "assistant", "content": ANSWER}}
    shown = job(daemon, job_id) | {"result": result}
    page.route(f"**/jobs/{job_id}", lambda route: route.fulfill(json=shown))
    for url, trusted in ((daemon.url.replace("127.0.0.1", BOX), False), (daemon.url, True)):
        page.goto(f"{url}/#/jobs/{job_id}")
        assert page.evaluate("isSecureContext") is trusted
        assert page.evaluate("navigator.clipboard !== undefined") is trusted
        for button, said, text in (
            ("Copy id", "The id is copied.", job_id),
            ("Copy answer", "The answer is copied.", ANSWER),
        ):
            page.get_by_role("button", name=button).click()
            expect(page.locator(".toast").last).to_have_text(said)
            expect(page.get_by_role("button", name=button)).to_be_focused()
            page.get_by_role("link", name="New job").click()
            expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
            page.keyboard.press("Control+v")
            assert page.get_by_label("Prompt", exact=True).input_value() == text
            page.go_back()


def test_a_browser_that_lets_no_page_copy_shows_what_was_to_be_copied(page: Page, fresh: Fresh) -> None:
    daemon = fresh(allowed_hosts=BOX)
    job_id = submit(daemon, "x")
    page.add_init_script("document.execCommand = () => false")
    page.goto(f"{daemon.url.replace('127.0.0.1', BOX)}/#/jobs/{job_id}")
    page.get_by_role("button", name="Copy id").click()
    expect(page.locator(".toast")).to_have_text(f"This browser does not let pages copy. The id: {job_id}")


def test_jobs_that_wait_for_their_time_are_listed_and_make_no_promise(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    later = submit(daemon, "x", not_before="2090-12-24T18:00:00Z", custom_id="christmas")
    opened(page, daemon)
    page.get_by_text("1 waits for its time").click()
    waiting = page.get_by_role("region", name="Waiting")
    expect(waiting.get_by_role("listitem")).to_have_count(1)
    expect(waiting.get_by_role("listitem")).to_contain_text("not before 12/2")
    submit(daemon, "x", not_before="2080-12-24T18:00:00Z", custom_id="sooner")
    expect(page.get_by_text("2 wait for their time")).to_be_visible()
    expect(waiting.get_by_role("link")).to_have_text(["a sooner", "a christmas"])
    waiting.get_by_role("link", name="christmas").click()
    facts = page.locator(".facts")
    expect(facts).to_contain_text("Not before")
    expect(facts).not_to_contain_text("Position")
    expect(facts).not_to_contain_text("Ready in about")
    page.go_back()
    page.get_by_text("2 wait for their time").click()
    page.get_by_role("button", name="Cancel job sooner").click()
    expect(page.get_by_text("1 waits for its time")).to_be_visible()
    assert state(daemon, later) == "queued"


def test_recent_is_by_end(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=2)
    slow = submit(daemon, "#silent", custom_id="began first")
    until(lambda: state(daemon, slow) == "working")
    quick = submit(daemon, "x", custom_id="ended first")
    until(lambda: state(daemon, quick) == "done")
    daemon.http.post(f"/jobs/{slow}/cancel")
    opened(page, daemon)
    rows = page.get_by_role("table", name="Recent jobs").locator(".tr:not(.th) .job")
    expect(rows).to_have_text(["began first", "ended first"])
    third = submit(daemon, "x", custom_id="third")
    expect(rows).to_have_text(["third", "began first", "ended first"])
    assert state(daemon, third) == "done"


def test_a_button_keeps_the_focus_while_the_list_moves_on(page: Page, fresh: Fresh) -> None:
    daemon = fresh(give_way=False)
    running = submit(daemon, "#silent")
    until(lambda: state(daemon, running) == "working")
    submit(daemon, "x", custom_id="mine")
    opened(page, daemon)
    mine = page.get_by_role("button", name="Cancel job mine")
    mine.focus()
    submit(daemon, "x", priority="high", custom_id="first")
    expect(page.get_by_role("region", name="Waiting").get_by_role("link")).to_have_text(["a first", "a mine"])
    expect(mine).to_be_focused()
