"""Every model that a target has: what it is, where it is loaded, what works with it, and orders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.api import submit
from tests.support.foreman import Daemon, Upstream, an_upstream, managed

Fresh = Callable[..., Daemon]

LONG = "qwen3-coder-30b-a3b-instruct-2507-unsloth-dynamic-q4_k_xl.gg"
MANY = 300


@pytest.fixture(scope="module")
def other() -> Iterator[Upstream]:
    with an_upstream("--models", f"b,{LONG}") as upstream:
        yield upstream


def row(page: Page, name: str) -> Locator:
    return page.locator(".model", has=page.locator("b", has_text=re.compile(f"^{re.escape(name)}$")))


def test_models_are_loaded_watched_and_unloaded_where_they_are(
    page: Page, fresh: Fresh, upstream: Upstream, other: Upstream
) -> None:
    targets: list[dict[str, Any]] = [
        {"name": "box", "ollama_url": upstream.url, "models": ["a", "b"]},
        {"name": "workstation-in-the-cellar", "ollama_url": other.url},
        {"name": "gpu0", "managed": True},
        {"name": "gone", "openai_url": "http://127.0.0.1:1"},
    ]
    daemon = fresh(ollama_url="", targets=targets, models=managed("m"))
    opened(page, daemon, "#/models", "away")
    expect(page.locator(".model b")).to_have_text(["a", "b", "m", LONG])
    expect(page.get_by_text("4 models, 0 loaded.")).to_be_visible()
    expect(row(page, "b").locator(".places li")).to_contain_text(["box", "workstation-in-the-cellar"])
    page.get_by_role("button", name="Load b on workstation-in-the-cellar").click()
    expect(row(page, "b")).to_contain_text("loaded for")
    page.get_by_role("button", name="Unload b from workstation-in-the-cellar").click()
    expect(row(page, "b").get_by_text("loaded for")).to_have_count(0)

    page.get_by_role("button", name="Load m on gpu0").click()
    expect(page.get_by_role("button", name="Unload m from gpu0")).to_be_visible()
    row(page, "m").get_by_text("Log of its server").click()
    log = row(page, "m").locator("pre")
    expect(log).to_contain_text("port")
    row(page, "m").get_by_label("Find in the log of m").fill("no line has such words")
    expect(log).to_have_text("No line has this.")
    row(page, "m").get_by_role("button", name="Hold").click()
    expect(row(page, "m").get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")

    submit(daemon, "#chunks=2000 #every=0.1", model="a")
    submit(daemon, "x", model="a", not_before="2090-01-01T00:00:00Z")
    expect(row(page, "a").locator(".work")).to_have_text("1 running · 1 waiting")
    page.get_by_label("Sort by").select_option("loaded")
    expect(page).to_have_url(re.compile("sort=loaded"))
    expect(page.locator(".model b")).to_have_text(["a", "m", "b", LONG])
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, width
        assert covered(page) == [], width
    page.get_by_role("link", name="Jobs of a").click()
    expect(page).to_have_url(re.compile("#/jobs.*model=a"))


def test_what_servers_tell_of_models_is_shown_only_of_those_that_are_seen(page: Page, shared: Daemon) -> None:
    names = [f"family{number % 7}-{number:03}:{number % 70 + 1}b" for number in range(MANY)]
    entry = {"digest": "d", "details": {"parameter_size": "7.6B", "quantization_level": "Q4_K_M"}}
    sizes = {name: 1_000_000_000 + 1_000_000 * number for number, name in enumerate(names)}
    target = {"name": "box", "kind": "ollama", "url": "", "up": True, "error": None, "draining": False, "slots": 1}
    held = {"size": 4_000_000_000, "size_vram": 2_000_000_000, "expires_at": "2040-01-01T00:00:00Z"}
    target |= {"loaded": [{"model": names[7], "since": "2026-01-01T00:00:00Z", **held}], "models": names}
    foreign = {"name": names[8], "size": 1_500_000_000, "size_vram": 0, "expires_at": "2318-01-01T00:00:00Z"}
    info = {"model_info": {"qwen2.context_length": 32768}, "capabilities": ["completion", "vision"]}
    asked: list[str] = []

    def show(route: Route) -> None:
        asked.append((route.request.post_data_json or {})["model"])
        route.fulfill(json=info)

    page.route("**/targets", lambda route: route.fulfill(json={"targets": [target]}))
    page.route(
        "**/api/tags",
        lambda route: route.fulfill(json={"models": [{"name": name, "size": sizes[name], **entry} for name in names]}),
    )
    page.route("**/api/ps", lambda route: route.fulfill(json={"models": [foreign]}))
    page.route("**/api/show", show)
    opened(page, shared, "#/models?sort=size")
    expect(page.get_by_text(f"{MANY} models, 2 loaded.")).to_be_visible()
    first = page.locator(".model").first
    expect(first).to_contain_text("7.6B · Q4_K_M · 1.3 GB · 32,768 tokens of context")
    expect(first.locator(".able")).to_have_text("textvision")
    assert len(asked) <= page.locator(".model .places").count() < MANY / 2  # others are a name
    page.get_by_label("Find").fill(names[7])
    expect(page.locator(".model")).to_have_count(1)
    expect(page.locator(".places")).to_contain_text("4.0 GB in memory · 50 % of it on the GPU · until")
    page.get_by_label("Find").fill(names[8])
    expect(page.locator(".places")).to_contain_text("loaded by another program · 1.5 GB in memory")
    page.get_by_label("Find").fill("nothing like this")
    expect(page.get_by_text("No model's name contains “nothing like this”.")).to_be_visible()


def test_where_no_model_is_known_the_page_says_what_to_do(page: Page, fresh: Fresh) -> None:
    opened(page, fresh(ollama_url="http://127.0.0.1:1"), "#/models", "away")
    expect(page.get_by_text("No model is known: ollama cannot be reached.")).to_be_visible()


def test_who_may_not_give_orders_is_asked_for_an_admin_token(page: Page, fresh: Fresh) -> None:
    opened(page, fresh(admin_token="boss"), "#/models")
    page.get_by_role("button", name="Load a on ollama").click()
    dialog = page.get_by_role("dialog", name="This needs an admin token")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".model [role=alert]").first).to_contain_text("needs an admin token")
