"""Everything has its place on every screen, and nothing lies on anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.seen import WIDTHS, covered, lines, moving, opened, serious, wider
from tests.support.api import chat, state, submit, submit_many
from tests.support.foreman import Daemon, Upstream, an_upstream, until

Fresh = Callable[..., Daemon]

LONG = "qwen3-coder-30b-a3b-instruct-2507-unsloth-dynamic-q4_k_xl.gg"
assert len(LONG) == 60


@pytest.fixture(scope="module")
def long_named() -> Iterator[Upstream]:
    with an_upstream("--models", f"{LONG},a") as upstream:
        yield upstream


def test_nothing_is_wider_than_the_screen_and_no_control_lies_on_another(
    page: Page, fresh: Fresh, long_named: Upstream
) -> None:
    daemon = fresh(ollama_url=long_named.url, slots=2, webhook_allow="127.0.0.1", max_attempts=1)
    failed = submit(daemon, f"#status=400 {'x' * 200}", model=LONG, custom_id="c" * 64, metadata={"k" * 40: "v" * 200})
    made = submit(daemon, "#image x", model=LONG, state_webhook_url=f"http://127.0.0.1:9/{'hook' * 40}")
    until(lambda: (state(daemon, failed), state(daemon, made)) == ("failed", "done"))
    first = submit(daemon, f"#chunks=2000 #every=0.1 {'word ' * 40}", model=LONG)
    submit(daemon, "#chunks=2000 #every=0.1 y", model=LONG, custom_id="d" * 64)
    until(lambda: len(daemon.http.get("/queue").json()["running"]) == 2)
    for priority in ("high", "normal", "low"):
        submit(daemon, "x", model=LONG, priority=priority, custom_id=priority * 8)
    submit(daemon, "x", model=LONG, not_before="2090-12-24T00:00:00Z")
    for view in (
        "",
        "#/jobs",
        "#/new",
        f"#/jobs/{failed}",
        f"#/jobs/{made}",
        f"#/jobs/{first}",
        f"#/compare/{failed}/{made}",
    ):
        opened(page, daemon, view)
        if "compare" in view:
            expect(page.get_by_role("region", name="Answered").locator(".card")).to_have_count(2)
        elif view == "":
            expect(page.locator(".job .answer")).to_have_count(2)
            expect(page.locator(".waiting li")).to_have_count(4)
            page.get_by_text("1 waits for its time").click()
        elif view == "#/new":
            page.get_by_text("More", exact=True).click()
        elif view != "#/jobs":
            expect(page.locator(".facts")).to_contain_text("Priority")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) <= 0, (width, view)
            assert covered(page) == [], (width, view)


def test_a_dialog_a_notice_and_a_toast_fit_a_small_screen(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    done = submit(daemon, "x")
    until(lambda: state(daemon, done) == "done")
    page.set_viewport_size({"width": 320, "height": 560})
    opened(page, daemon, f"#/jobs/{done}")
    expect(page.locator(".steps .pill").last).to_have_text("done")
    left = "all => all.map((one) => Math.min(...[...one.children].slice(1).map((part) => part.offsetLeft)))"
    assert len(set(page.locator(".steps li").evaluate_all(left))) == 1  # what finds no place beside the rest, too
    page.get_by_role("button", name="Copy id").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []
    assert wider(page) <= 0
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 320
    page.keyboard.press("Escape")
    daemon.kill()
    expect(page.locator("#notice")).to_be_visible()
    assert serious(page) == []
    assert wider(page) <= 0


@pytest.mark.parametrize("text", ["#think #chunks=3000", "#chunks=3000"])
@pytest.mark.parametrize("width", [360, 1280])
def test_text_that_does_not_fit_is_cut_between_two_lines(page: Page, fresh: Fresh, text: str, width: int) -> None:
    daemon = fresh()
    submit(daemon, f"{text} #every=0.005 {width}")
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, daemon)
    box = page.locator(".answer.tail")
    expect(box).to_contain_text(" w400 ")
    found = lines(box)
    assert found["hidden"] > 0
    assert found["cut"] == 0


def test_long_results_and_lists_show_whole_lines(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    name = f"nightly-2026-11-27-{'of-the-harbour-' * 2}part-0001"
    done = submit(daemon, "#chunks=800 x", metadata={"a": "b"}, custom_id=name)
    until(lambda: state(daemon, done) == "done")
    opened(page, daemon, f"#/jobs/{done}")
    page.get_by_role("button", name="Show completion").click()
    shown = page.get_by_role("region", name="Artifacts").locator("pre")
    expect(shown).to_contain_text("w799")
    page.set_viewport_size({"width": 640, "height": 700})
    assert lines(shown)["cut"] == 0
    assert shown.evaluate("one => one.scrollHeight > one.clientHeight")
    for width, row in ((1280, 44), (390, 84)):
        page.set_viewport_size({"width": width, "height": 777})
        opened(page, daemon, "#/jobs")
        height = page.locator(".window").evaluate("one => one.clientHeight")
        assert height in (row, 2 * row), (width, height)  # as high as what is listed, with its head
        long = "one => { one.textContent = '59 min 59 s'; return one.scrollWidth - one.clientWidth; }"
        for column in ("waited", "took"):
            assert page.locator(f".tr:not(.th) .{column}").evaluate(long) <= 0, (width, column)
        link = page.get_by_role("table", name="Jobs").get_by_role("link", name=name, exact=True)
        expect(link).to_have_attribute("title", f"{name}\n{done}")
        begin, end = link.locator("span").all()  # names of a series differ at their end
        assert begin.evaluate("one => one.scrollWidth > one.clientWidth")
        expect(end).to_have_text("art-0001")
        assert end.evaluate(
            "one => one.getBoundingClientRect().right <= one.closest('.job').getBoundingClientRect().right"
        )
    submit_many(daemon, [chat(not_before="2090-01-01T00:00:00Z")] * 40)
    for width, row in ((1280, 44), (390, 84)):
        page.set_viewport_size({"width": width, "height": 777})
        opened(page, daemon, "#/jobs?state=queued").reload()
        expect(page.get_by_text("40 jobs")).to_be_visible()
        height = page.locator(".window").evaluate("one => one.clientHeight")
        assert height >= 5 * row, (width, height)
        assert height % row == 0, (width, height)
        expect(page.locator(".views [aria-current]")).to_be_in_viewport(ratio=1)


def test_only_what_goes_on_pulses(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    ended = {
        "done": submit(daemon, "x"),
        "failed": submit(daemon, "#status=400 x"),
        "cancelled": submit(daemon, "x", not_before="2090-01-01T00:00:00Z"),
    }
    daemon.http.post(f"/jobs/{ended['cancelled']}/cancel")
    for name, job_id in ended.items():
        until(lambda job_id=job_id, name=name: state(daemon, job_id) == name)  # type: ignore[misc]
        opened(page, daemon, f"#/jobs/{job_id}")
        expect(page.locator(".steps .pill").last).to_have_text(name)
        assert moving(page) == []
    running = submit(daemon, "#silent")
    until(lambda: state(daemon, running) == "working")
    opened(page, daemon, f"#/jobs/{running}")
    expect(page.locator(".steps .pill").last).to_have_text("working")
    assert [name.split()[-2:] for name in moving(page) if "pill" in name] == [["working", "goes"]] * 2
