"""Chat with any model: each answer is a job, and the jobs are the conversation."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.e2e.page.seen import WIDTHS, covered, opened, serious, wider
from tests.support.api import job
from tests.support.foreman import Daemon

Fresh = Callable[..., Daemon]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]

LARGE = 9007199254740993  # JavaScript would round it


def with_large(route: Route) -> None:
    """Answer as the server does, with a model that calls its tool with a large number."""
    response = route.fetch()
    route.fulfill(response=response, body=response.text().replace('"Ulm"', str(LARGE)))


def prompt(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Prompt", exact=True)
    field.fill(text)
    field.press("Enter")


def answers(page: Page, model: str) -> Locator:
    return page.get_by_role("article", name=f"Answer of {model}", exact=True)


def turns(daemon: Daemon) -> list[dict[str, Any]]:
    """The jobs of all conversations, newest first."""
    return list(daemon.http.get("/jobs", params={"custom_id": "chat-*"}).json()["jobs"])


def sent(daemon: Daemon, job_id: str) -> dict[str, Any]:
    return dict(daemon.http.get(f"/jobs/{job_id}/request").json())


def said(daemon: Daemon, job_id: str) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in sent(daemon, job_id)["messages"]]


def test_a_conversation_is_its_jobs_and_goes_on_after_a_reload(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=4)
    opened(page, daemon, "#/playground")
    expect(page.get_by_text("None yet. Each answer is a job")).to_be_visible()
    prompt(page, "#chunks=3000 #every=0.02 #think first")
    expect(answers(page, "a")).to_contain_text("w3 w4")
    expect(page).to_have_url(re.compile("#/playground/[0-9a-z]{10}$"))
    page.reload()
    expect(answers(page, "a")).to_contain_text("w3 w4")
    answers(page, "a").get_by_text("Thinking").click()
    expect(answers(page, "a").locator(".thought .text")).not_to_be_empty()
    page.get_by_role("button", name="Stop the answer of a").click()
    expect(answers(page, "a")).to_contain_text("Stopped.")
    expect(page.locator(".conversations a")).to_contain_text("first")
    page.reload()
    expect(answers(page, "a")).to_contain_text("w3 w4")
    expect(answers(page, "a")).to_contain_text("Stopped.")

    page.get_by_role("button", name="Answer again with a").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page, "a").get_by_text("cancelled")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Edit the prompt")).click()
    page.get_by_label("Edit the prompt").fill("#chunks=2 one")
    page.get_by_role("button", name="Ask again").click()
    expect(answers(page, "a")).to_contain_text(re.compile(r"w0 w1.*tokens"))
    page.get_by_role("button", name="Compare with another model").click()
    prompt(page, "#chunks=4 two")
    for model in ("a", "b"):
        expect(answers(page, model).last).to_contain_text("w2 w3")
    newest = {one["model"]: one["job_id"] for one in reversed(turns(daemon))}
    before = [("user", "#chunks=2 one"), ("assistant", "w0 w1 "), ("user", "#chunks=4 two")]
    assert [(role, text.strip()) for role, text in said(daemon, newest["b"])] == [(r, t.strip()) for r, t in before]
    assert said(daemon, newest["a"]) == said(daemon, newest["b"])
    assert job(daemon, newest["a"])["priority"] == "high"

    page.reload()
    expect(page.locator(".turn")).to_have_count(2)
    expect(answers(page, "a")).to_have_count(2)
    expect(answers(page, "b")).to_have_count(1)
    expect(page.get_by_label("Model 2")).to_have_value("b")
    expect(answers(page, "a").first).to_contain_text("tokens")
    expect(page.get_by_role("link", name="Job of this answer of b")).to_have_attribute("href", f"#/jobs/{newest['b']}")

    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name of the conversation").fill("Colours")
    page.keyboard.press("Enter")
    expect(page.locator(".conversations a")).to_contain_text("Colours")
    prompt(page, "#echo a **word** in `code`")
    expect(answers(page, "b").last.locator(".spoken strong")).to_have_text("word")
    assert turns(daemon)[0]["metadata"]["title"] == "Colours"
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("It is its 7 jobs")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("#/playground$"))
    assert turns(daemon) == []
    daemon.http.post("/queue/pause")
    prompt(page, "x")
    expect(page.locator(".conversations a")).to_contain_text("waits · a")


def test_options_schema_tools_and_files_go_with_a_prompt(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=4)
    opened(page, daemon, "#/playground?model=b")
    page.get_by_text("System prompt, options, schema, tools").click()
    page.get_by_label("System prompt").fill("Be short.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Seed").fill(str(LARGE))
    page.get_by_label("Thinks").select_option("no")
    page.get_by_label("Tools").fill("[")
    prompt(page, "#tool weather?")
    expect(page.locator(".composer [role=alert]")).to_contain_text("Tools: this is no JSON")
    page.get_by_label("Tools").fill(json.dumps(TOOLS))
    expect(page.get_by_text("Images and text files up to 50.3 MB")).to_be_visible()
    files = page.locator("input[type=file]")
    files.set_input_files({"name": "x.zip", "mimeType": "application/zip", "buffer": b"PK\x03\x04\xff\x00"})
    expect(page.get_by_text("x.zip is neither an image nor a text file.")).to_be_visible()
    image: FilePayload = {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL}
    notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": "Grün\n```\ncode\n```".encode()}
    files.set_input_files([image, notes])
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "dropped.txt", { type: "text/plain" }));
          const how = { bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, ...how }));
          const field = document.querySelector(".composer textarea");
          field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, ...how }));
        }"""
    )
    for _ in range(2):
        page.get_by_role("button", name="Remove dropped.txt").first.click()
    expect(page.locator(".chips li")).to_have_count(2)
    page.route(re.compile(r"/jobs/\w{26}$"), with_large)
    prompt(page, "#tool weather?")
    called = answers(page, "b")
    expect(called).to_contain_text("calls weather")
    expect(called.locator(".calls pre")).to_contain_text(f'"city": {LARGE}')
    [first] = turns(daemon)
    asked = sent(daemon, first["job_id"])
    assert asked["messages"][0] == {"role": "system", "content": "Be short."}
    assert asked["messages"][1]["images"] == [base64.b64encode(PIXEL).decode()]
    assert asked["messages"][1]["content"] == "#tool weather?\n\nFile notes.txt:\n````\nGrün\n```\ncode\n```\n````"
    assert (asked["options"], asked["think"], asked["tools"]) == ({"temperature": 0.5, "seed": LARGE}, False, TOOLS)
    called.get_by_label("What weather returns").fill("sunny")
    called.get_by_role("button", name="Send the result").click()
    expect(answers(page, "b")).to_have_count(2)
    expect(answers(page, "b").last.get_by_text("tokens")).to_be_visible()
    last = sent(daemon, turns(daemon)[0]["job_id"])["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "tool"]
    assert last[2]["tool_calls"][0]["function"]["arguments"] == {"city": LARGE}
    assert (last[3]["tool_name"], last[3]["content"]) == ("weather", "sunny")

    page.reload()
    expect(answers(page, "b")).to_have_count(2)
    expect(answers(page, "b").first).to_contain_text("weather returned")
    expect(answers(page, "b").first.locator(".calls pre").first).to_contain_text(f'"city": {LARGE}')
    expect(page.get_by_label("Seed")).to_have_value(str(LARGE))
    expect(page.locator(".prompt img")).to_be_visible()
    expect(page.locator(".prompt summary")).to_have_text("notes.txt, 18 bytes")
    expect(page.get_by_label("System prompt")).to_have_value("Be short.")
    assert page.locator(".prompt > .text").inner_text() == "#tool weather?"


def test_what_was_written_is_not_lost_and_errors_are_said_in_place(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=1, max_body=20_000)
    opened(page, daemon, "#/playground")
    prompt(page, "#status=400 no")
    expect(answers(page, "a").get_by_role("alert")).not_to_be_empty()
    expect(answers(page, "a")).to_contain_text("failed")
    expect(page.get_by_text("up to 15.0 kB")).to_be_visible()
    prompt(page, "x" * 25_000)
    expect(page.locator(".composer [role=alert]")).to_contain_text("leave files out, or begin a new conversation")
    daemon.kill()
    prompt(page, "still here")
    expect(page.locator(".composer [role=alert]")).to_contain_text("Foreman does not answer")
    daemon.start()
    page.reload()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("still here")
    opened(page, daemon, "#/playground/0000000000")
    expect(page.get_by_text("There is no such conversation")).to_be_visible()


def test_four_models_side_by_side_fit_every_screen(page: Page, fresh: Fresh) -> None:
    daemon = fresh(slots=4)
    opened(page, daemon, "#/playground")
    for _ in range(3):
        page.get_by_role("button", name="Compare with another model").click()
    expect(page.get_by_role("button", name="Compare with another model")).to_have_count(0)
    page.get_by_label("Model 4").select_option("a")
    prompt(page, f"#chunks=30 {'word' * 80}")
    expect(page.locator(".chat-answer").get_by_text("tokens")).to_have_count(4)
    page.get_by_text("System prompt, options, schema, tools").click()
    page.get_by_role("button", name=re.compile("^Edit the prompt")).click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert wider(page) <= 0, width
        page.evaluate("document.querySelector('.composer').style.position = 'static'")  # it lies on what is scrolled
        assert covered(page) == [], width


def test_a_conversation_stands_as_its_newest_jobs_tell_it(page: Page, shared: Daemon) -> None:
    def one(number: int, column: int, turn: int, step: int = 0) -> dict[str, Any]:
        place = {"chat": "x", "title": "t", "column": str(column), "turn": str(turn), "step": str(step)}
        return {"job_id": f"{number:04}", "metadata": place}

    jobs = [one(1, 0, 0), one(2, 0, 1), one(3, 1, 1), one(4, 0, 2), one(5, 1, 2), one(6, 0, 1), one(7, 0, 1, 1)]
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "A"}]
    edited = [*before, {"role": "user", "content": "b2"}, {"role": "assistant", "content": ""}]
    requests = {
        "0": [*edited, {"role": "tool", "content": "r"}],
        "1": [*before, {"role": "user", "content": "b"}, {"role": "assistant", "content": "B"}],
    }
    opened(page, shared, "#/playground")
    found = page.evaluate(
        """async ([jobs, requests]) => {
          const { rebuilt, standing } = await import("/static/chat_thread.js");
          const messages = new Map(Object.entries(requests).map(([column, said]) => [Number(column), said]));
          return rebuilt(standing(jobs), messages).turns.map(({ input, columns }) =>
            [input.content, [...columns].map(([column, steps]) => [column, steps.map((step) => step.job?.job_id)])]);
        }""",
        [jobs[::-1], requests],
    )
    assert found == [["a", [[0, ["0001"]]]], ["b2", [[0, ["0006", "0007"]]]]]
