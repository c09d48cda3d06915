"""Every target with its slots as they fill, and orders to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.api import state, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, managed, until

Fresh = Callable[..., Daemon]


@pytest.fixture(scope="module")
def others() -> Iterator[list[Upstream]]:
    with an_upstream("--models", "b,big-model-with-a-long-name:70b-instruct-q4") as one, an_upstream() as two:
        yield [one, two]


@pytest.fixture
def five(fresh: Fresh, upstream: Upstream, others: list[Upstream]) -> Daemon:
    targets: list[dict[str, Any]] = [
        {"name": "box", "ollama_url": upstream.url, "slots": 4, "models": ["a"]},
        {"name": "workstation-in-the-cellar", "ollama_url": others[0].url, "slots": 48},
        {"name": "cloud", "openai_url": others[1].url, "models": ["c"]},
        {"name": "gpu0", "managed": True},
        {"name": "gone", "openai_url": "http://127.0.0.1:1"},
    ]
    return fresh(ollama_url="", targets=targets, models=managed("m"))


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=f"Target {name}")


def test_the_slots_of_every_target_are_shown_as_they_fill(page: Page, five: Daemon) -> None:
    opened(page, five, "", "away")
    expect(page.locator(".target")).to_have_count(5)
    expect(page.locator(".cards")).to_contain_text("4 of 5 up")
    expect(page.locator("#notice")).to_contain_text("A target is away: cannot reach gone")
    expect(card(page, "gone")).to_contain_text(re.compile(r"Away for \d.*: cannot reach gone"))
    expect(card(page, "box").get_by_role("img")).to_have_accessible_name("0 of 4 slots in use")
    jobs = [submit(five, "#chunks=2000 #every=0.1", model="a") for _ in range(3)]
    expect(card(page, "box").get_by_role("img")).to_have_accessible_name("3 of 4 slots in use")
    expect(card(page, "box").locator(".slots .full")).to_have_count(3)
    expect(card(page, "box")).to_contain_text("at work")
    expect(page.locator(".running .job").first).to_contain_text(" on box")
    for job_id in jobs:
        five.http.post(f"/jobs/{job_id}/cancel")
    expect(card(page, "box").get_by_role("img")).to_have_accessible_name("0 of 4 slots in use")


def test_a_single_target_takes_no_place_of_its_own(page: Page, shared: Daemon) -> None:
    opened(page, shared, "")
    expect(page.locator(".cards")).to_contain_text("reachable")
    running = submit(shared, "#chunks=2000 #every=0.1")
    expect(page.locator(".running .job")).to_have_count(1)
    expect(page.locator(".running .job")).not_to_contain_text(" on ollama")
    opened(page, shared, f"#/jobs/{running}")
    expect(page.locator(".facts")).to_contain_text("Targetollama")
    shared.http.post(f"/jobs/{running}/cancel")
    opened(page, shared, "")
    expect(page.get_by_role("region", name="Targets")).to_be_hidden()
    opened(page, shared, "#/targets")
    expect(card(page, "ollama")).to_contain_text("Ollama · http://127.0.0.1:")
    assert serious(page) == []


def test_a_target_is_drained_and_resumed(page: Page, five: Daemon) -> None:
    opened(page, five, "#/targets", "away")
    card(page, "box").get_by_role("button", name="Drain").click()
    expect(card(page, "box")).to_contain_text("drained")
    waiting = submit(five, "x", model="a")
    expect(card(page, "box").get_by_role("button", name="Resume")).to_be_visible()
    assert state(five, waiting) == "queued"
    card(page, "box").get_by_role("button", name="Resume").click()
    until(lambda: state(five, waiting) == "done")
    expect(card(page, "box")).to_contain_text("1 job done")


def test_a_model_is_loaded_and_unloaded_and_its_log_is_shown(page: Page, five: Daemon) -> None:
    opened(page, five, "#/targets", "away")
    expect(card(page, "cloud").get_by_role("button", name="Load")).to_have_count(0)
    expect(card(page, "gpu0").get_by_role("combobox")).to_be_visible()
    gpu = card(page, "gpu0")
    expect(gpu.locator(".tags")).to_have_text("")
    gpu.get_by_role("button", name="Load").click()
    expect(gpu.locator(".tags .tag")).to_contain_text("m")
    gpu.get_by_text("Log", exact=True).click()
    expect(gpu.locator("pre")).to_contain_text("port")
    gpu.get_by_role("button", name="Unload m from gpu0").click()
    expect(gpu.locator(".tags .tag")).to_have_count(0)


def test_who_may_not_give_orders_is_asked_for_an_admin_token(page: Page, fresh: Fresh) -> None:
    daemon = fresh(admin_token="boss")
    opened(page, daemon, "#/targets")
    card(page, "ollama").get_by_role("button", name="Drain").click()
    dialog = page.get_by_role("dialog", name="This needs an admin token")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".toast")).to_contain_text("needs an admin token")
    card(page, "ollama").get_by_role("button", name="Drain").click()
    dialog.get_by_label("Admin token").fill("boss")
    page.keyboard.press("Enter")
    expect(card(page, "ollama")).to_contain_text("drained")


@pytest.mark.parametrize("view", ["", "#/targets"])
def test_five_targets_fit_every_screen(page: Page, five: Daemon, view: str) -> None:
    five.http.post(
        "/targets/workstation-in-the-cellar/load", json={"model": "big-model-with-a-long-name:70b-instruct-q4"}
    )
    five.http.post("/targets/gpu0/load", json={"model": "m"})
    opened(page, five, view, "away")
    expect(page.locator(".target")).to_have_count(5)
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, (width, view)
        assert covered(page) == [], (width, view)
