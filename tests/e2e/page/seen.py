"""What tests ask of a page: is it up to date, can everybody use it, does everything have its place."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.support.foreman import Daemon

WIDTHS = (320, 390, 640, 641, 901, 1001, 1280, 1700, 1920)  # px, and where it changes

# Pairs of controls that lie on each other where the page begins, for its head stays above what is scrolled under it;
# with what is cut off by a scrolled box left out.
_COVERED = """() => {
  scrollTo(0, 0);
  const controls = [...document.querySelectorAll("a, button, input, select, textarea, summary, [role=slider]")];
  const boxes = controls.filter((one) => !one.matches(".skip") && one.checkVisibility()).flatMap((one) =>
    [...one.getClientRects()].map((box) => {
      let { left, right, top, bottom } = box;
      for (let around = one.parentElement; around; around = around.parentElement) {
        if (getComputedStyle(around).overflow === "visible") continue;
        const edge = around.getBoundingClientRect();
        [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
        [top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
      }
      return { one, left, right, top, bottom };
    }));
  const shared = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]) > 1;
  const over = (a, b) => shared(a, b, "left", "right") && shared(a, b, "top", "bottom");
  const pairs = boxes.flatMap((a, place) => boxes.slice(place + 1).map((b) => [a, b]));
  return pairs.filter(([a, b]) => a.one !== b.one && !a.one.contains(b.one) && over(a, b))
    .map(([a, b]) => `${a.one.outerHTML.slice(0, 90)} on ${b.one.outerHTML.slice(0, 90)}`);
}"""

# Lines of text in a box: how many there are, how many its upper edge hides, how many an edge cuts through.
_LINES = """(box) => {
  const edge = box.getBoundingClientRect();
  const [top, bottom] = [edge.top + box.clientTop, edge.top + box.clientTop + box.clientHeight];
  const texts = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  const lines = [];
  while (texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    lines.push(...range.getClientRects());
  }
  const cut = (line, at) => line.top < at - 1 && line.bottom > at + 1;
  return {
    all: lines.length,
    hidden: lines.filter((line) => line.bottom <= top + 1).length,
    cut: lines.filter((line) => cut(line, top) || cut(line, bottom)).length,
  };
}"""

_MOVING = """() => document.getAnimations()
  .filter((one) => one.playState === "running" && one.effect.getComputedTiming().endTime === Infinity)
  .map((one) => one.effect.target.parentElement.className)"""


def opened(page: Page, daemon: Daemon, view: str = "", state: str = "live") -> Page:
    page.goto(f"{daemon.url}/{view}")
    expect(page.locator("#link")).to_have_attribute("data-state", state)
    return page


def caught_up(page: Page, daemon: Daemon) -> None:
    """Wait until the page has seen the newest event."""
    newest = daemon.http.get("/metrics").text
    counted = [float(line.split()[-1]) for line in newest.splitlines() if line.startswith("foreman_changes_total{")]
    page.wait_for_function("wanted => Number(document.documentElement.dataset.seq) >= wanted", arg=sum(counted))


def serious(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds that would keep somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def covered(page: Page) -> list[str]:
    """Return which controls lie on which others."""
    return list(page.evaluate(_COVERED))


def wider(page: Page) -> int:
    """Return how many px the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def lines(box: Locator) -> dict[str, int]:
    """Return how many lines of text a box has (`all`), hides above (`hidden`), and cuts through (`cut`)."""
    return dict(box.evaluate(_LINES))


def moving(page: Page) -> list[str]:
    """Return the classes around what moves without end."""
    return list(page.evaluate(_MOVING))
