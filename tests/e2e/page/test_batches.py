"""Batches on the page: the list, one of them as it goes on, and what is done to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.page.seen import WIDTHS, covered, moving, opened, serious, wider
from tests.support.foreman import Daemon, Upstream, an_upstream, until

Fresh = Callable[..., Daemon]

CHAT = "/v1/chat/completions"
LONG = "qwen3-coder-30b-a3b-instruct-2507-unsloth-dynamic-q4_k_xl.gg"


@pytest.fixture(scope="module")
def openai_upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "openai", "--models", f"a,{LONG}") as upstream:
        yield upstream


@pytest.fixture
def start(fresh: Fresh, openai_upstream: Upstream) -> Fresh:
    return lambda **settings: fresh(ollama_url="", openai_url=openai_upstream.url, max_attempts=1, **settings)


def a_batch(daemon: Daemon, *texts: str, ids: list[str] | None = None, model: str = "a", **metadata: str) -> str:
    """Make a batch with a line for each text, and return its id."""
    lines = [
        {
            "custom_id": ids[number] if ids else f"line-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": text}]},
        }
        for number, text in enumerate(texts)
    ]
    given = {"file": ("lines.jsonl", "\n".join(map(json.dumps, lines)).encode())}
    file = daemon.http.post("/v1/files", files=given, data={"purpose": "batch"}).json()["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", "metadata": metadata or None}
    made = daemon.http.post("/v1/batches", json={name: value for name, value in asked.items() if value}).json()
    return str(made["id"])


def shown(daemon: Daemon, batch_id: str) -> dict[str, Any]:
    return dict(daemon.http.get(f"/batches/{batch_id}").json())


def ended(daemon: Daemon, batch_id: str) -> str:
    until(lambda: shown(daemon, batch_id)["ended_at"])
    return batch_id


def test_a_batch_is_followed_from_an_empty_list_to_its_files(page: Page, start: Fresh) -> None:
    daemon = start()
    opened(page, daemon, "#/batches")
    expect(page.get_by_text("No batches yet.")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text(f'base_url="{daemon.url}/v1"')
    assert serious(page) == []

    daemon.http.post("/queue/pause")
    batch_id = a_batch(daemon, "one", "#status=400", "three", description="nightly evaluation")
    row = page.get_by_role("table", name="Batches").locator(".tr:not(.th)")
    expect(row).to_contain_text("in progress")
    expect(row).to_contain_text("0 of 3 lines")
    expect(page.locator(".empty")).to_be_hidden()
    assert serious(page) == []
    row.get_by_role("link", name="nightly evaluation").click()
    expect(page).to_have_url(re.compile(f"#/batches/{batch_id}$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("nightly evaluation")
    expect(page.locator(".counts")).to_have_text("3 waiting or running")
    expect(page.get_by_text("They are written once all lines have ended.")).to_be_visible()

    daemon.http.post("/queue/resume")
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "3")
    expect(bar).to_have_attribute("aria-valuetext", "3 of 3 lines, 1 failed")
    expect(page.locator(".counts li")).to_have_text(["2 done", "1 failed"])
    expect(page.locator(".steps .pill")).to_have_text(["validating", "in progress", "finalizing", "completed"])
    assert moving(page) == []
    assert serious(page) == []
    for name, custom_ids in (("output", ["line-0", "line-2"]), ("errors", ["line-1"])):
        with page.expect_download() as got:
            page.get_by_role("button", name=f"Download {name}").click()
        assert re.fullmatch(rf"{batch_id}_(output|error)\.jsonl", got.value.suggested_filename)
        lines = got.value.path().read_text().splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == custom_ids

    page.get_by_role("link", name="1 failed").click()
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")
    expect(page.locator(".chips").get_by_role("link")).to_have_attribute("href", f"#/batches/{batch_id}")
    page.get_by_role("table", name="Jobs").get_by_role("link", name="line-1").click()
    expect(page.locator(".facts")).to_contain_text("Batch")
    assert page.get_by_role("button", name="Retry").count() == 0  # which a line of a batch refuses
    assert page.get_by_role("button", name="Delete").count() == 0
    page.locator(".facts").get_by_role("link", name=f"…{batch_id[-8:]}").click()
    expect(page).to_have_url(re.compile(f"#/batches/{batch_id}$"))


def test_a_cancel_asks_first_and_is_seen_in_place(page: Page, start: Fresh) -> None:
    daemon = start(slots=1)
    batch_id = a_batch(daemon, "one", *["#silent"] * 300)  # more than are jobs at a time
    until(lambda: shown(daemon, batch_id)["done"] == 1)
    opened(page, daemon, f"#/batches/{batch_id}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    dialog = page.get_by_role("dialog", name="Cancel this batch?")
    cancel.focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert shown(daemon, batch_id)["state"] == "in_progress"
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    expect(page.locator(".counts li")).to_have_text(["1 done", "300 cancelled"])
    expect(cancel).to_have_count(0)
    expect(page.get_by_role("button", name="Download errors")).to_be_visible()
    assert shown(daemon, batch_id)["state"] == "cancelled"


def test_what_is_wrong_with_an_input_is_shown_by_its_lines(page: Page, start: Fresh) -> None:
    daemon = start()
    batch_id = ended(daemon, a_batch(daemon, "one", "two", "three", ids=["x", "y", "x"]))
    opened(page, daemon, f"#/batches/{batch_id}")
    expect(page.get_by_role("alert").filter(has_text="Nothing was run")).to_have_text(
        "Nothing was run: its input has 1 error."
    )
    wrong = page.get_by_role("region", name="Errors of the input")
    expect(wrong.get_by_role("listitem")).to_have_count(1)
    expect(wrong).to_contain_text("Line 3")
    expect(wrong).to_contain_text("duplicate_custom_id")
    expect(page.get_by_role("region", name="Progress")).to_be_hidden()
    assert serious(page) == []
    opened(page, daemon, "#/batches")
    expect(page.get_by_role("table", name="Batches")).to_contain_text("1 error in its input")
    opened(page, daemon, "#/batches/batch_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    expect(page.get_by_role("heading", name="No such batch")).to_be_visible()


def test_files_come_with_the_token_of_the_page(page: Page, start: Fresh) -> None:
    daemon = start(token="alice:hush,bob:quiet", private_jobs=True)
    daemon.http.headers["Authorization"] = "Bearer hush"
    batch_id = ended(daemon, a_batch(daemon, "one"))
    page.add_init_script("sessionStorage.setItem('foreman-token', 'hush')")
    opened(page, daemon, f"#/batches/{batch_id}")
    with page.expect_download() as got:
        page.get_by_role("button", name="Download output").click()
    assert json.loads(got.value.path().read_text())["custom_id"] == "line-0"
    file = shown(daemon, batch_id)["links"]["output"]
    assert daemon.http.delete(file.removesuffix("/content")).status_code == 200
    page.reload()
    expect(page.get_by_role("region", name="Files")).to_contain_text("removed")
    expect(page.get_by_role("button", name="Download output")).to_be_hidden()
    page.evaluate("sessionStorage.setItem('foreman-token', 'quiet')")
    page.goto(f"{daemon.url}/#/batches")
    expect(page.locator("main").get_by_text("alice")).to_have_count(0)


def test_the_results_of_other_apis_are_one_file(page: Page, start: Fresh) -> None:
    daemon = start(token="alice:hush")
    daemon.http.headers["Authorization"] = "Bearer hush"
    params = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    asked = {"requests": [{"custom_id": name, "params": params} for name in ("one", "two")]}
    batch_id = ended(daemon, daemon.http.post("/v1/messages/batches", json=asked).json()["id"])
    page.add_init_script("sessionStorage.setItem('foreman-token', 'hush')")
    opened(page, daemon, f"#/batches/{batch_id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
    with page.expect_download() as got:
        page.get_by_role("button", name="Download results").click()
    assert re.fullmatch(rf"{batch_id}_\w+\.jsonl", got.value.suggested_filename)
    lines = got.value.path().read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == ["one", "two"]
    expect(page.get_by_role("button", name="Download")).to_have_count(1)


def test_the_list_is_filtered_by_state_in_the_address(page: Page, start: Fresh) -> None:
    daemon = start(slots=1)
    ended(daemon, a_batch(daemon, "one", description="first"))
    open_one = a_batch(daemon, "#silent", description="second")
    opened(page, daemon, "#/batches")
    names = page.get_by_role("table", name="Batches").locator(".batch a")
    expect(names).to_have_text(["second", "first"])
    page.get_by_label("State").focus()
    page.get_by_label("State").select_option("ended")
    expect(names).to_have_text(["first"])
    expect(page).to_have_url(re.compile(r"#/batches\?state=completed%2C"))
    expect(page.get_by_label("State")).to_be_focused()
    page.get_by_label("State").select_option("expired")
    expect(page.get_by_text("No batches match.")).to_be_visible()
    page.go_back()
    names.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("first")
    page.get_by_role("navigation", name="Way back").get_by_role("link", name="Back to the list").click()
    expect(page).to_have_url(re.compile(r"#/batches\?state=completed%2C"))
    expect(names).to_have_text(["first"])
    opened(page, daemon)  # Now has the open ones
    expect(page.get_by_role("table", name="Open batches").locator(".batch a")).to_have_text(["second"])
    daemon.http.post(f"/batches/{open_one}/cancel")
    expect(page.get_by_role("table", name="Open batches")).to_be_hidden()


def test_an_estimate_is_shown_and_that_it_is_past_the_window(page: Page, start: Fresh) -> None:
    daemon = start(slots=1)
    batch_id = a_batch(daemon, *["x"] * 9, "#silent", "#silent")
    until(lambda: shown(daemon, batch_id)["done"] == 9)
    opened(page, daemon, f"#/batches/{batch_id}")
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text(re.compile(r"9 of 11 lines.* lines/\w+ · about .* left"))
    expect(page.locator(".late")).to_be_hidden()
    daemon.http.post("/queue/pause")  # nothing is known then
    expect(progress).not_to_contain_text("left")

    def late(route: Route) -> None:
        route.fulfill(json=shown(daemon, batch_id) | {"eta_seconds": 30 * 3600.0})

    page.route(f"**/batches/{batch_id}", late)
    expect(page.locator(".late")).to_contain_text("At this speed its window ends first")
    assert serious(page) == []


def test_a_list_that_cannot_be_read_says_why_and_comes_when_it_can(page: Page, start: Fresh) -> None:
    daemon = start()
    ended(daemon, a_batch(daemon, "one"))
    broken = {"error": "the store does not answer", "code": "store_away"}
    page.route("**/batches?*", lambda route: route.fulfill(status=503, json=broken))
    page.goto(f"{daemon.url}/#/batches")
    expect(page.get_by_text("the store does not answer")).to_be_visible()
    page.unroute("**/batches?*")
    expect(page.get_by_role("table", name="Batches").locator(".tr:not(.th)")).to_have_count(1)
    daemon.kill()
    expect(page.get_by_role("alert").filter(has_text="Foreman does not answer")).to_be_visible()
    expect(page.locator(".heard").first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_batches_have_their_place_on_every_screen_and_in_both_themes(page: Page, start: Fresh, theme: str) -> None:
    daemon = start(slots=2)
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    mixed = a_batch(daemon, *["#status=400"] * 3, *["x"] * 9, *["#silent"] * 9, model=LONG, description="word " * 60)
    until(lambda: shown(daemon, mixed)["done"] == 9)
    failed = ended(daemon, a_batch(daemon, "one", "two", ids=["z" * 64, "z" * 64], note="v" * 200))
    for view, there in (
        ("#/batches", ".batches .tr:nth-child(2)"),
        (f"#/batches/{mixed}", ".counts li"),
        (f"#/batches/{failed}", ".errors li"),
        (f"#/jobs?batch_id={mixed}", ".rows .tr"),
        ("", ".batches .tr"),
    ):
        opened(page, daemon, view)
        expect(page.locator(there).first).to_be_visible()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) <= 0, (width, view)
            assert covered(page) == [], (width, view)
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert serious(page) == [], (width, view)


def test_many_batches_and_errors_are_shown_piece_by_piece(page: Page, start: Fresh) -> None:
    daemon = start()
    made = shown(daemon, ended(daemon, a_batch(daemon, "one")))
    errors = [{"code": "duplicate_custom_id", "message": "x" * 80, "line": n + 1, "param": None} for n in range(1000)]
    many = [made | {"batch_id": f"batch_{n:026}", "metadata": {"name": f"number {n}"}} for n in range(120)]

    def pages(route: Route) -> None:
        after = re.search(r"after=batch_(\d+)", route.request.url)
        begin = int(after[1]) + 1 if after else 0
        found = many[begin : begin + 50]
        more = found[-1]["batch_id"] if begin + 50 < len(many) else None
        route.fulfill(json={"batches": found, "next": more})

    page.route("**/batches?*", pages)
    page.route(
        f"**/batches/{many[0]['batch_id']}",
        lambda route: route.fulfill(json=many[0] | {"state": "failed", "total": None, "errors": errors}),
    )
    opened(page, daemon, "#/batches")
    rows = page.get_by_role("table", name="Batches").locator(".tr:not(.th)")
    expect(rows).to_have_count(50)
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(rows).to_have_count(100)
    expect(more).to_be_focused()
    more.click()
    expect(rows).to_have_count(120)
    expect(more).to_be_hidden()
    page.goto(f"{daemon.url}/#/batches/{many[0]['batch_id']}")
    expect(page.locator(".errors li")).to_have_count(1000)
    expect(page.locator(".errors li").last).to_contain_text("Line 1,000")
