"""Being told of an end: by the browser's notification, a toast, the title; also of what ended while nobody looked."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import opened
from tests.support.api import submit
from tests.support.foreman import Daemon

Fresh = Callable[..., Daemon]

# A browser that grants what is asked for, in a tab that can be hidden; headless ones show no notifications.
GRANTING = """
  globalThis.told = [];
  globalThis.asked = 0;
  globalThis.away = false;
  globalThis.Notification = class {
    static permission = (origin === "null" ? null : localStorage.getItem("granted")) ?? "default";
    static async requestPermission() {
      asked += 1;
      localStorage.setItem("granted", "granted");
      return (this.permission = "granted");
    }
    constructor(title, { tag }) { told.push(`${title} ${tag}`); }
    close() {}
  };
  Object.defineProperty(document, "hidden", { get: () => away });
  document.hasFocus = () => !away;
  globalThis.hide = (hidden) => { away = hidden; document.dispatchEvent(new Event("visibilitychange")); };
"""
DENYING = """
  globalThis.Notification = class { static permission = "denied"; };
"""
COLOURS = "(one) => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
LATER = "2090-01-01T00:00:00Z"


def test_the_end_of_a_job_is_told_while_the_tab_is_hidden_and_after_it_was_closed(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    page.add_init_script(GRANTING)
    first, second = (submit(daemon, custom_id=name, not_before=LATER) for name in ("first", "second"))
    opened(page, daemon, f"#/jobs/{first}")
    assert page.evaluate("asked") == 0
    page.get_by_role("button", name="Tell me").click()
    expect(page.get_by_role("button", name="Tell me")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("asked") == 1
    under_pointer = page.get_by_role("button", name="Tell me").evaluate(COLOURS)
    page.mouse.move(0, 0)
    assert page.get_by_role("button", name="Tell me").evaluate(COLOURS) == under_pointer
    assert len(set(under_pointer)) == 2
    page.evaluate("hide(true)")
    daemon.http.post(f"/jobs/{first}/cancel")
    page.wait_for_function("() => told.length === 1")
    assert page.evaluate("told") == [f"Job cancelled: first jobs/{first}"]
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    page.evaluate("hide(false)")
    expect(page).not_to_have_title(re.compile(r"^\(1\) "))
    opened(page, daemon, f"#/jobs/{second}")
    page.get_by_role("button", name="Tell me").click()
    page.goto("about:blank")
    daemon.http.post(f"/jobs/{second}/cancel")
    opened(page, daemon)
    expect(page.locator(".toast")).to_have_text("Job cancelled: second")
    assert page.evaluate("asked") == 0
    opened(page, daemon, "#/new")
    expect(page.locator(".toast")).to_have_count(0)


def test_who_blocks_notifications_is_told_how_and_sees_a_toast(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    page.add_init_script(DENYING)
    opened(page, daemon, "#/new")
    page.get_by_label("Tell me when jobs that I submit here end").check()
    expect(page.locator(".notify-all")).to_contain_text("This browser blocks notifications of this page")
    page.get_by_label("Prompt", exact=True).fill("#chunks=3 x")
    page.get_by_role("button", name="Submit").click()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("Job done: ")
    toast.get_by_role("link").click()
    expect(page.locator("h1 .pill")).to_have_text("done")
