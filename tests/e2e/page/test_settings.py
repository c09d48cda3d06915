"""The settings in force, for those who may see them."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.foreman import Daemon

Fresh = Callable[..., Daemon]


def test_an_admin_sees_what_differs_first_and_finds_the_rest(page: Page, fresh: Fresh) -> None:
    daemon = fresh(token="alice:one", admin_token="boss", slots=2, job_ttl="2 d", webhook_secret="hush")
    page.add_init_script("sessionStorage.setItem('foreman-token', 'one')")
    opened(page, daemon, "#/settings")
    expect(page.get_by_role("heading", name="Settings are for admins")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("button", name="Use an admin token").click()
    page.get_by_role("dialog").get_by_label("Admin token").fill("boss")
    page.keyboard.press("Enter")
    changed = page.get_by_role("region", name="Different from the default")
    expect(changed).to_contain_text("slots")
    expect(changed.locator("#setting-job_ttl")).to_contain_text("2 d")
    expect(changed.locator("#setting-job_ttl")).to_contain_text("from the environment · default: 7 d")
    expect(changed.locator("#setting-addr")).to_contain_text("a change needs a restart")
    assert "boss" not in page.content() and "hush" not in page.content()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, width
        assert covered(page) == [], width
    assert serious(page) == []
    page.get_by_label("Find").fill("retry_backoff")
    expect(page.locator(".setting")).to_have_count(2)
    expect(page.locator("main")).to_contain_text("1 setting differs from the default, 1 does not.")
    page.reload()
    expect(page.get_by_label("Find")).to_have_value("retry_backoff")
    page.get_by_label("Find").fill("no such thing at all")
    expect(page.locator("main")).to_contain_text("No setting fits")
    page.get_by_role("button", name="Read again").click()
    expect(page.locator(".toast")).to_contain_text("Nothing has changed.")
