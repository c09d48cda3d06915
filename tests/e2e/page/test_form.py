"""What stands in the form reaches the job, and its target, as it was meant."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.e2e.page.seen import opened
from tests.support.api import job
from tests.support.foreman import Daemon

Fresh = Callable[..., Daemon]

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
URL = f"data:image/png;base64,{PIXEL}"
FORMAT = {"name": "answer", "schema": SCHEMA}
PICTURE: FilePayload = {"name": "p.png", "mimeType": "image/png", "buffer": base64.b64decode(PIXEL)}
ANTHROPIC = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def form(page: Page, daemon: Daemon, **fields: str) -> None:
    """Open the form and fill in fields by their names, with every part of it unfolded."""
    opened(page, daemon, "#/new")
    expect(page.get_by_label("Model")).to_have_value("a")
    page.get_by_text("More", exact=True).click()
    for name, value in fields.items():
        field = page.locator(f"[name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def submitted(page: Page) -> str:
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h1 .pill")).to_be_visible()
    return page.url.rpartition("/")[2]


def test_every_field_of_a_job_has_one_here(page: Page, fresh: Fresh) -> None:
    daemon = fresh(webhook_allow="127.0.0.1")
    form(
        page,
        daemon,
        prompt="later",
        priority="low",
        not_before="2080-01-31T18:00:00",
        start_by="2080-02-01T18:00:30",
        max_attempts="7",
        timeout="12.5",
        custom_id="mine",
        metadata="project = colours\n\nequation = a = b",
        state_webhook_url="http://127.0.0.1:9/hook",
    )
    for state in ("done", "failed"):
        page.get_by_label(state, exact=True).check()
    made = job(daemon, submitted(page))
    assert (made["priority"], made["max_attempts"], made["custom_id"]) == ("low", 7, "mine")
    assert made["metadata"] == {"project": "colours", "equation": "a = b"}
    moment = page.evaluate("new Date('2080-01-31T18:00:00').toISOString()")
    assert made["not_before"] == moment
    assert daemon.http.get(f"/jobs/{made['job_id']}/deliveries").json()["deliveries"] == []  # not of `queued`
    daemon.http.post(f"/jobs/{made['job_id']}/cancel")
    assert daemon.http.get(f"/jobs/{made['job_id']}/deliveries").json()["deliveries"] == []  # nor of `cancelled`


def test_what_is_not_given_is_what_the_settings_say(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=5, attempt_timeout=77)
    form(page, daemon, prompt="x")
    expect(page.get_by_label("Attempts at most")).to_have_attribute("placeholder", "5")
    expect(page.get_by_label("Time limit")).to_have_attribute("placeholder", "77")
    assert job(daemon, submitted(page))["max_attempts"] == 5


def test_a_time_by_which_nothing_began_expires_the_job(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    form(page, daemon, prompt="x", start_by="2001-01-01T00:00:00")
    submitted(page)
    expect(page.locator("h1 .pill")).to_have_text("expired")


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        (
            "/api/chat",
            {
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "hi", "images": [PIXEL]},
                ],
                "options": {"temperature": 0.5},
                "format": SCHEMA,
            },
        ),
        (
            "/api/generate",
            {
                "prompt": "hi",
                "system": "be brief",
                "images": [PIXEL],
                "options": {"temperature": 0.5},
                "format": SCHEMA,
            },
        ),
        (
            "/v1/chat/completions",
            {
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "hi"},
                            {"type": "image_url", "image_url": {"url": URL}},
                        ],
                    },
                ],
                "temperature": 0.5,
                "response_format": {"type": "json_schema", "json_schema": FORMAT},
            },
        ),
        (
            "/v1/responses",
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "hi"},
                            {"type": "input_image", "image_url": URL},
                        ],
                    }
                ],
                "instructions": "be brief",
                "temperature": 0.5,
                "text": {"format": {"type": "json_schema", **FORMAT}},
            },
        ),
    ],
)
def test_images_options_and_a_schema_take_the_form_of_their_endpoint(
    page: Page, shared: Daemon, endpoint: str, wanted: dict[str, Any]
) -> None:
    given = {"options": '{"temperature": 0.5}', "schema": page.evaluate("JSON.stringify", SCHEMA)}
    form(page, shared, prompt="hi", system="be brief", endpoint=endpoint, extra='{"keep": "this"}', **given)
    page.get_by_label("Images").set_input_files([PICTURE])
    job_id = submitted(page)
    asked = shared.http.get(f"/jobs/{job_id}/request").json()
    assert asked == {"model": "a", "keep": "this", **wanted}
    assert job(shared, job_id)["endpoint"] == endpoint
    expect(page.get_by_role("region", name="Asked")).to_contain_text("be brief")
    expect(page.get_by_role("region", name="Asked").get_by_role("img", name="image 1")).to_be_visible()


def test_messages_of_anthropics_api_are_made_too(page: Page, shared: Daemon) -> None:
    form(page, shared, prompt="hi", system="be brief", endpoint="/v1/messages", options='{"max_tokens": 9}')
    page.get_by_label("Images").set_input_files([PICTURE])
    asked = shared.http.get(f"/jobs/{submitted(page)}/request").json()
    content = [ANTHROPIC, {"type": "text", "text": "hi"}]
    assert asked == {
        "model": "a",
        "max_tokens": 9,
        "system": "be brief",
        "messages": [{"role": "user", "content": content}],
    }


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ("/v1/completions", {"prompt": "hi", "dimensions": 3}),
        ("/api/embed", {"input": "hi", "options": {"dimensions": 3}}),
        ("/v1/embeddings", {"input": "hi", "dimensions": 3}),
    ],
)
def test_endpoints_without_messages_get_the_prompt_alone(
    page: Page, shared: Daemon, endpoint: str, wanted: dict[str, Any]
) -> None:
    form(page, shared, prompt="hi", system="be brief", endpoint=endpoint, options='{"dimensions": 3}')
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_have_text(f"{endpoint} takes no system prompt.")
    page.get_by_label("System prompt").fill("")
    assert shared.http.get(f"/jobs/{submitted(page)}/request").json() == {"model": "a", **wanted}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("options", "{temperature: 1}", "Options: this is no JSON"),
        ("schema", "[1]", "Schema of the answer: this must be a JSON object"),
        ("metadata", "colours", "Metadata: “colours” should be name = value."),
        ("not_before", "9999-01-01T00:00:00", "within the next 100 years"),  # which Foreman says
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_is_submitted(
    page: Page, shared: Daemon, name: str, text: str, words: str
) -> None:
    before = [one["job_id"] for one in shared.http.get("/jobs").json()["jobs"]]
    form(page, shared, prompt="hi", **{name: text})
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
    assert [one["job_id"] for one in shared.http.get("/jobs").json()["jobs"]] == before


def test_control_and_enter_submit_from_the_prompt(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    expect(page.get_by_label("Model")).to_have_value("a")
    page.keyboard.type("hello")
    page.keyboard.press("Control+Enter")
    expect(page.locator("h1 .pill")).to_have_text("done")
