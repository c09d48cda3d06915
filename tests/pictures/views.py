"""The views of the page, each with what shows that it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, expect

from tests.pictures.box import Box

SIZE = {"width": 1280, "height": 900}  # px


@dataclass(frozen=True, slots=True)
class View:
    """An address of the page, and words that it shows once it is complete."""

    address: str
    words: str
    theme: Literal["light", "dark"] = "light"


def views(box: Box) -> dict[str, View]:
    """Return each view by the name of its picture."""
    return {
        "now": View("", "grace", "dark"),
        "jobs": View("#/jobs", "Explain in two sentences"),
        "job": View(f"#/jobs/{box.done}", "lighthouse"),
        "compare": View(f"#/compare/{box.done}/{box.other}", "lighthouse"),
        "batches": View("#/batches", "reviews"),
        "batch": View(f"#/batches/{box.batch}", "12 waiting or running"),
        "new-job": View("#/new", "Prompt"),
        "chat": View("#/playground", box.model),
        "models": View("#/models", box.model),
        "targets": View("#/targets", "Drain"),
        "usage": View("#/usage", "Models loaded", "dark"),
        "settings": View("#/settings", "max_attempts"),
    }


def take(page: Page, box: Box, view: View, file: Path) -> None:
    """Open a view, wait until it is complete, and write its picture."""
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=view.theme, reduced_motion="reduce")
    page.goto(f"{box.daemon.url}/{view.address}")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.locator("main")).to_contain_text(view.words)
    page.screenshot(path=file, animations="disabled")
