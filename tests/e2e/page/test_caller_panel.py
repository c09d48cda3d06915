"""Who the caller is, on the page: name, rights, sign out, and an admin token where one is needed."""

from __future__ import annotations

import json
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import covered, opened, serious, wider
from tests.support.foreman import Daemon

Fresh = Callable[..., Daemon]
TOKENS = "alice:one,bob:two"


def test_the_head_names_the_caller_and_signs_out(page: Page, fresh: Fresh) -> None:
    daemon = fresh(token=TOKENS, admin_token="boss", quotas=json.dumps({"alice": {"waiting": 1200}}))
    page.goto(f"{daemon.url}/#/jobs")
    page.get_by_role("dialog").get_by_label("Token").fill("one")
    page.get_by_role("dialog").get_by_label("Remember it in this browser").check()
    page.get_by_role("button", name="Open").click()
    me = page.get_by_role("button", name="You and this page")
    expect(me).to_have_text("alice")
    panel = page.get_by_role("group", name="You and this page")
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        me.click()
        expect(panel).to_contain_text("This token may submit, and sees all jobs.")
        expect(panel).to_contain_text("1,200 of 1,200 left")
        assert wider(page) <= 0
        assert serious(page) == []
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        assert covered(page) == []
    me.click()
    panel.get_by_role("button", name="Dark").click()
    expect(panel.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.goto(f"{daemon.url}/#/playground")
    page.get_by_role("textbox", name="Prompt").fill("what nobody else shall read")
    page.evaluate("sessionStorage.setItem('foreman-stopped', JSON.stringify({ job: 'what it had said' }))")
    me.click()
    panel.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("dialog", name="This server needs a token")).to_be_visible()
    assert page.evaluate("Object.keys({ ...localStorage, ...sessionStorage })") == ["foreman-theme"]
    expect(page.locator("#link")).to_have_attribute("data-state", "connecting")


def test_without_tokens_the_page_says_so(page: Page, shared: Daemon) -> None:
    opened(page, shared)
    page.get_by_role("button", name="You and this page").click()
    panel = page.get_by_role("group", name="You and this page")
    expect(panel).to_contain_text("No token is needed here")
    expect(panel.get_by_role("button", name="Sign out")).to_be_hidden()


def test_what_needs_admin_rights_asks_for_them_in_place_and_is_done_then(page: Page, fresh: Fresh) -> None:
    daemon = fresh(token=TOKENS, admin_token="boss")
    page.add_init_script("sessionStorage.setItem('foreman-token', 'one')")
    opened(page, daemon)
    page.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog", name="This needs an admin token")
    for given, said in (("nobody's", "Foreman does not know this token."), ("two", "This is the token of bob")):
        dialog.get_by_label("Admin token").fill(given)
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog.get_by_role("alert")).to_contain_text(said)
    assert serious(page) == []
    dialog.get_by_label("Admin token").fill("boss")
    dialog.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Waiting, paused")).to_be_visible()
    me = page.get_by_role("button", name="You and this page")
    expect(me).to_have_text("alice + admin")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Waiting", exact=True)).to_be_visible()
    me.click()
    page.get_by_role("button", name="Drop admin rights").click()
    expect(me).to_have_text("alice")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pause").click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".toast")).to_contain_text("Nothing was done: this needs an admin token.")
    assert not daemon.http.get("/queue", headers={"Authorization": "Bearer one"}).json()["paused"]


def test_where_nobody_can_have_admin_rights_no_token_is_asked_for(page: Page, fresh: Fresh) -> None:
    daemon = fresh(token="alice:one", private_jobs=True)
    page.add_init_script("sessionStorage.setItem('foreman-token', 'one')")
    opened(page, daemon)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".toast")).to_contain_text("Nobody may do this")
