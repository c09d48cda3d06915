"""The charts tell what the server counted: whatever the page has seen, and nothing of the time before."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.page.seen import opened
from tests.support.api import chat, state, submit, submit_many
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

MANY = 1200
NOTHING: dict[str, Any] = {
    "by": None,
    **dict.fromkeys(("submitted", "done", "failed", "cancelled", "expired", "loads", "waiting", "running"), 0),
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "answer_tokens"), 0),
    "busy_seconds": 0.0,
    "wait_p50": None,
    "wait_p95": None,
}
BEGIN = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


# To the right key by key, within the page: sixty keys of a real keyboard take seconds.
_WALK = """(slider) => {
  const said = [slider.getAttribute("aria-valuetext")];
  while (said.length < 60) {
    slider.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true }));
    said.push(slider.getAttribute("aria-valuetext"));
  }
  return said;
}"""


def chart(page: Page, title: str) -> Locator:
    return page.locator("figure", has=page.get_by_role("slider", name=title))


def minutes(page: Page, title: str) -> list[str]:
    """Return what the chart says of each of its minutes, the oldest first."""
    slider = page.get_by_role("slider", name=title)
    slider.focus()
    page.keyboard.press("Home")
    return [said.partition(": ")[2] for said in slider.evaluate(_WALK)]


def told(rows: dict[int, dict[str, Any]], since: datetime) -> Callable[[Route], None]:
    """Answer for the server, so that a test knows every minute: `rows` are the figures by the number of the minute."""
    times = [BEGIN + timedelta(minutes=n) for n in range(60)]
    shown = [{"from": at.isoformat(), **NOTHING, **rows.get(n, {})} for n, at in enumerate(times)]
    answer = {"step": "minute", "from": shown[0]["from"], "to": "", "since": since.isoformat(), "rows": shown}
    return lambda route: route.fulfill(json=answer)


def test_a_burst_of_more_than_a_thousand_is_counted_whole_also_after_a_reload(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=8)
    daemon.http.post("/queue/pause")
    opened(page, daemon)
    submit_many(daemon, (chat("#chunks=1") for _ in range(MANY)))
    failed = submit(daemon, "#status=400 x", priority="high")
    expect(chart(page, "Jobs waiting")).to_contain_text(f"{MANY + 1:,} at most")
    expect(page.locator(".cards")).to_contain_text(f"{MANY + 1:,}")
    daemon.http.post("/queue/resume")
    until(lambda: daemon.http.get("/queue").json()["queued"] == 0, 120)
    until(lambda: state(daemon, failed) == "failed")
    until(lambda: not daemon.http.get("/queue").json()["running"])
    for _ in range(3):
        expect(chart(page, "Jobs ended")).to_contain_text(f"{MANY + 1:,} in all")
        expect(chart(page, "Jobs waiting")).to_contain_text(f"{MANY + 1:,} at most")
        counts = [re.findall(r"(\d[\d,]*) (\w+)", said) for said in minutes(page, "Jobs ended")]
        sums = {name: 0 for one in counts for _, name in one if name in ("done", "failed")}
        for number, name in (pair for one in counts for pair in one):
            if name in sums:
                sums[name] += int(number.replace(",", ""))
        assert sums == {"done": MANY, "failed": 1}
        page.reload()


def test_a_server_that_has_just_begun_invents_no_past(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    opened(page, daemon)
    expect(page.get_by_text(re.compile(r"^Figures since \d\d:\d\d .M; earlier ones are not known\.$"))).to_be_visible()
    for title in ("Jobs ended", "Jobs waiting", "Wait before start", "Answer tokens"):
        said = minutes(page, title)
        assert said[:57] == ["no figures"] * 57  # it may have taken a minute to start
        assert said[59] != "no figures"
    submit(daemon, "#chunks=5 x")
    expect(chart(page, "Jobs ended")).to_contain_text("1 in all")
    expect(chart(page, "Answer tokens")).to_contain_text("in all")


def test_a_minute_tells_its_figures_to_the_pointer_and_to_the_keyboard(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    waits = {"wait_p50": 1.5, "wait_p95": 12.0}
    rows: dict[int, dict[str, Any]] = {
        30: {"done": 12, "failed": 2, "waiting": 1, "answer_tokens": 1, **waits},
        45: {"done": 1, "cancelled": 3, "expired": 1, "waiting": 2500, "answer_tokens": 12_345},
    }
    page.route("**/usage?*", told(rows, BEGIN))
    opened(page, daemon)
    expect(page.get_by_text("The last hour, minute by minute.")).to_be_visible()
    expect(chart(page, "Jobs ended")).to_contain_text("19 in all")
    ended = minutes(page, "Jobs ended")
    assert (ended[29], ended[30], ended[45]) == ("0 done", "12 done, 2 failed", "1 done, 3 cancelled, 1 expired")
    assert minutes(page, "Jobs waiting")[45] == "2,500 at once"
    assert [minutes(page, "Answer tokens")[n] for n in (30, 45)] == ["1 token", "12,345 tokens"]
    assert minutes(page, "Wait before start")[30] == "half within 1.5 s, 95 % within 12 s"
    assert minutes(page, "Wait before start")[31] == "none"
    page.keyboard.press("Home")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="Wait before start")).to_have_attribute(
        "aria-valuetext", re.compile(r"half within 1\.5 s, 95 % within 12 s$")
    )
    page.get_by_role("slider", name="Wait before start").blur()
    plot = page.get_by_role("slider", name="Jobs ended")
    readout = chart(page, "Jobs ended").locator(".readout")
    expect(readout).to_contain_text("Most: 12 done, 2 failed at ")
    box = plot.bounding_box()
    assert box is not None
    step = (box["width"] - 48) / 60  # behind the scale
    page.mouse.move(box["x"] + 48 + 45.5 * step, box["y"] + 50)
    expect(readout).to_contain_text("1 done, 3 cancelled, 1 expired, ")
    page.mouse.move(0, 0)
    expect(readout).to_contain_text("Most: ")


@pytest.mark.parametrize(
    ("most", "scale"),
    [(1, ["0", "2", "4"]), (57, ["0", "30", "60"]), (2999, ["0", "2,000", "4,000"]), (45_000, ["0", "50K", "100K"])],
)
def test_a_chart_has_a_scale_that_fits_its_highest_bar(page: Page, shared: Daemon, most: int, scale: list[str]) -> None:
    page.route("**/usage?*", told({10: {"done": most}}, BEGIN))
    opened(page, shared)
    expect(chart(page, "Jobs ended")).to_contain_text(f"{most:,} in all")
    labels = chart(page, "Jobs ended").locator("text[text-anchor=end]").all_text_contents()
    assert [label for label in labels if label != "now"] == scale
    bar, plot = chart(page, "Jobs ended").locator("path.done"), page.get_by_role("slider", name="Jobs ended")
    height, whole = bar.bounding_box(), plot.bounding_box()
    assert height is not None and whole is not None
    share = {"4": 1 / 4, "60": 57 / 60, "4,000": 2999 / 4000, "100K": 0.45}[scale[-1]]
    assert height["height"] == pytest.approx(share * (whole["height"] - 26), abs=1)  # less the margins


@pytest.mark.parametrize("wait", [0.0004, 0.04, 0.09, 45, 3000, 40_000, 900_000])
def test_the_labels_of_a_scale_are_whole(page: Page, shared: Daemon, wait: float) -> None:
    page.route("**/usage?*", told({10: {"done": 1, "wait_p50": wait, "wait_p95": wait}}, BEGIN))
    opened(page, shared)
    expect(chart(page, "Jobs ended")).to_contain_text("1 in all")
    plot = page.get_by_role("slider", name="Wait before start").bounding_box()
    assert plot is not None
    labels = chart(page, "Wait before start").locator("text[text-anchor=end]").all()
    assert len(labels) > 2
    for box in (label.bounding_box() for label in labels):
        assert box is not None
        assert box["x"] >= plot["x"]


def test_what_cannot_be_read_is_not_drawn_as_nothing(page: Page, fresh: Fresh) -> None:
    page.route("**/usage?*", lambda route: route.fulfill(status=503, json={"error": "busy", "code": "busy"}))
    opened(page, fresh())
    expect(page.get_by_role("slider", name="Jobs ended")).to_have_attribute("aria-valuetext", "No figures yet")
    expect(chart(page, "Jobs ended").locator("strong")).to_have_text("–")
