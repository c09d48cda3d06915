"""A job once more: its request as a program, in the form to be changed, and beside another job."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import opened, serious, wider
from tests.support.api import chat, job, state, submit, submit_many
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
URL = f"data:image/png;base64,{PIXEL}"
WORDS = "it's $HOME `id` \\n \"q\"\n'''\ttab é 😀 #echo"
SCHEMA = {"type": "object"}
CALL = "async ([module, name, ...given]) => (await import(`/static/${module}.js`))[name](...given)"
AGAIN = """async ([job, request]) => {
  const { prefill } = await import("/static/prefill.js");
  const { payload } = await import("/static/payload.js");
  const { fields, images, files } = prefill(job, request);
  return [payload(fields, images, [], files), "request" in fields];
}"""


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


PARTS = [{"type": "text", "text": WORDS}, {"type": "image_url", "image_url": {"url": URL}}]
SAID = [{"role": "system", "content": "s"}, user("t")]
TURNS = [user("a"), {"role": "assistant", "content": "b"}, user("c", images=[PIXEL])]
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
SOURCE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
REQUESTS: list[tuple[str, bool, dict[str, Any]]] = [  # the endpoint, whether it is shown as JSON, the request
    ("/api/chat", False, {"messages": [user("t")]}),
    ("/api/chat", False, {"messages": [SAID[0], user("t", images=[PIXEL])], "options": {"seed": 1}, "format": SCHEMA}),
    ("/api/chat", True, {"messages": TURNS, "think": True}),
    ("/api/chat", True, {"messages": [user(" blanks around it ")]}),
    ("/api/chat", True, {"messages": "nonsense"}),
    ("/api/generate", False, {"prompt": "p", "system": "s", "images": [PIXEL], "options": {"seed": 1}, "raw": True}),
    ("/v1/chat/completions", False, {"messages": SAID, "temperature": 1, "tools": [{"type": "function"}]}),
    ("/v1/chat/completions", False, {"messages": [user(PARTS)], "response_format": FORMAT}),
    ("/v1/chat/completions", True, {"messages": [user([*PARTS, *PARTS])]}),
    ("/v1/responses", False, {"input": [user("t")], "instructions": "i", "max_output_tokens": 5}),
    ("/v1/responses", True, {"input": "t"}),
    ("/v1/messages", False, {"max_tokens": 5, "messages": [user([SOURCE, {"type": "text", "text": "t"}])]}),
    ("/v1/completions", False, {"prompt": "p", "max_tokens": 4}),
    ("/api/embed", False, {"input": "p", "truncate": True}),
    ("/api/embed", True, {"input": ["p", "q"]}),
    ("/v1/embeddings", False, {"input": "p", "dimensions": 4}),
    ("/v1/of/tomorrow", True, {"prompt": "p"}),
]
CODE: list[tuple[str, str, dict[str, Any]]] = [  # how a request is made again, and which
    ("curl", "/v1/chat/completions", {"messages": [user(PARTS)], "temperature": 0.5, "top_k": 5}),
    ("curl", "/api/chat", {"messages": [user(WORDS)], "think": False}),
    ("python", "/v1/chat/completions", {"messages": [user(PARTS)], "temperature": 0.5, "top_k": 5}),
    ("python", "/api/chat", {"messages": [user(WORDS, images=[PIXEL])], "options": {"seed": 1}}),
    ("client", "/api/chat", {"messages": [user(WORDS, images=[PIXEL])], "options": {"seed": 1}}),
]
TOKEN = "a-secret-token"
THEMES: list[Literal["light", "dark"]] = ["light", "dark"]


def request_of(daemon: Daemon, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.http.get(f"/jobs/{job_id}/request").json()
    return {name: value for name, value in found.items() if name not in ("stream", "stream_options")}


def test_copied_programs_make_the_same_request_and_hold_no_secret(page: Page, fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh(token=TOKEN)
    page.goto(f"{daemon.url}/#/new")
    page.get_by_role("dialog").get_by_label("Token").fill(TOKEN)
    page.get_by_role("dialog").get_by_role("button", name="Open").click()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    (tmp_path / "image-1.png").write_bytes(base64.b64decode(PIXEL))
    environment = {**os.environ, "FOREMAN_TOKEN": TOKEN}
    for name, endpoint, body in CODE:
        given = {"endpoint": endpoint, "request": {"model": "a", **body}, "url": daemon.url, "token": True}
        code = page.evaluate(CALL, ["as_code", name, {**given, "own": {"custom_id": "mine"}}])
        assert TOKEN not in code
        assert PIXEL not in code
        command = ["bash", "-c", code] if name == "curl" else [sys.executable, "-c", code]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (code, ran.stderr)
        assert "$HOME" in ran.stdout  # the answer is printed
        [made] = daemon.http.get("/jobs?limit=1").json()["jobs"]
        assert made["endpoint"] == endpoint
        assert request_of(daemon, made["job_id"]) == {"model": "a", **body}, code
        assert made["custom_id"] == ("mine" if name == "client" else None)
    page.goto(f"{daemon.url}/#/jobs/{made['job_id']}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, words in (("curl", "curl -s "), ("Python", "import httpx"), ("Foreman client", "from foreman import")):
        page.get_by_role("button", name=f"Copy as {name}").click()
        expect(page.locator(".toast").last).to_have_text(f"The request as {name} is copied.")
        assert words in page.evaluate("navigator.clipboard.readText()")


def test_a_form_filled_in_from_a_job_makes_the_same_request(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    own = {"priority": "low", "max_attempts": 7, "metadata": {"a": "b = c"}, "custom_id": "mine"}
    for endpoint, as_json, body in REQUESTS:
        request: dict[str, Any] = {"model": "a", **body}
        made, shown = page.evaluate(AGAIN, [{**own, "endpoint": endpoint}, {**request, "stream": True}])
        where = {} if endpoint == "/api/chat" else {"endpoint": endpoint}
        assert made == {**request, **own, **where}
        assert shown is as_json, request


def test_numbers_stay_as_they_were_written(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    options = (
        '{"seed":9007199254740993,"temperature":1.0,"top_p":0.30000000000000004,"x":[1e400,-0,123456789012345678901]}'
    )
    messages = (
        '[{"role":"user","content":"t"}]',
        '[{"role":"user","content":"t 12345678901234567890"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"id":9007199254740995}}}]}]',  # noqa: E501
    )
    for said in messages:
        text = f'{{"model":"a","messages":{said},"options":{options}}}'
        made = daemon.http.post("/jobs", content=text, headers={"Content-Type": "application/json"}).json()["job_id"]
        opened(page, daemon, f"#/new?from={made}")
        field = page.get_by_label("Options" if said == messages[0] else "Request", exact=False).first
        expect(field).to_have_value(re.compile("9007199254740993"))
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url(re.compile(r"#/jobs/"))
        [again] = daemon.http.get("/jobs?limit=1").json()["jobs"]
        assert again["job_id"] != made
        request = daemon.http.get(f"/jobs/{again['job_id']}/request").text.replace(" ", "")
        assert options in request
        assert said.replace(" ", "") in request
    expect(page.locator(".call dd")).to_have_text("9007199254740995")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name in ("curl", "Python", "Foreman client"):
        page.get_by_role("button", name=f"Copy as {name}").click()
        expect(page.locator(".toast").last).to_have_text(f"The request as {name} is copied.")
        code = page.evaluate("navigator.clipboard.readText()")
        assert [number in code for number in ("9007199254740993", "9007199254740995", "1.0,")] == [True] * 3


def test_a_job_is_edited_and_run_again(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    first = submit(daemon, "#echo one", priority="low", custom_id="mine", metadata={"k": "v"}, options={"seed": 4})
    opened(page, daemon, f"#/jobs/{first}")
    page.get_by_role("link", name="Edit and run again").click()
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value("#echo one")
    expect(page.get_by_label("Priority")).to_have_value("low")
    prompt.fill("#echo two")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("region", name="Answered")).to_contain_text("two")
    second = page.url.rpartition("/")[2]
    assert request_of(daemon, second) == {**request_of(daemon, first), "messages": [user("#echo two")]}
    assert {name: job(daemon, second)[name] for name in ("priority", "custom_id", "metadata")} == {
        name: job(daemon, first)[name] for name in ("priority", "custom_id", "metadata")
    }
    many = daemon.http.post("/jobs", json={"model": "b", "messages": TURNS}).json()["job_id"]
    opened(page, daemon, f"#/new?from={many}")
    whole = page.get_by_label("Request", exact=False).first
    expect(whole).to_have_value(json.dumps({"model": "b", "messages": [*TURNS[:2], user("c", images=["<image-1.png>"])]}, indent=2))  # fmt: skip  # noqa: E501
    expect(prompt).to_be_hidden()
    assert serious(page) == []
    whole.fill(whole.input_value().replace('"c"', '"d"'))
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("h1 .pill")).to_have_text("done")
    made = request_of(daemon, page.url.rpartition("/")[2])
    assert made == {"model": "b", "messages": [*TURNS[:2], user("d", images=[PIXEL])]}
    opened(page, daemon, "#/new?from=01M851ES4ND9PVJWPF0KQPVXTA")
    expect(page.get_by_role("alert")).to_contain_text("There is no job 01M851ES4ND9PVJWPF0KQPVXTA")


def test_two_jobs_are_compared_side_by_side(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=1)
    first = submit(daemon, "#exact a **green** boat", options={"seed": 1})
    second = submit(daemon, "#exact a **red** boat", model="b", custom_id="red one")
    failed, same = submit(daemon, "#status=400 x"), submit(daemon, "#exact a **green** boat")
    submit(daemon, "x")
    until(lambda: all(state(daemon, one) in ("done", "failed") for one in (first, second, failed, same)))
    opened(page, daemon, f"#/jobs/{first}")
    page.get_by_role("link", name="Compare").click()
    choices = page.get_by_role("main").get_by_role("listitem")
    expect(choices).to_have_count(4)
    expect(choices.first).to_contain_text("same prompt")
    expect(choices.first.get_by_role("link")).to_have_attribute("href", f"#/compare/{first}/{same}")
    expect(page.get_by_text("same prompt", exact=True)).to_have_count(1)
    assert serious(page) == []
    page.get_by_label("Job").fill("nothing like it")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text("There is no other job “nothing like it”.")
    page.get_by_label("Job").fill("red one")
    page.get_by_role("button", name="Compare").click()
    figures, asked = (page.get_by_role("region", name=name) for name in ("Figures", "Asked"))
    expect(figures.locator("tr.other", has_text="Model")).to_contain_text("b")
    expect(figures.locator("tr", has_text="Tokens written")).to_contain_text("3")
    expect(asked.locator("tbody th")).to_have_text(["model", "messages[0].content", "options.seed"])
    expect(asked.locator("del")).to_have_text(["a", "green"])
    expect(asked.locator("ins")).to_have_text(["b", "red"])
    answers = page.get_by_role("region", name="Answered")
    expect(answers.locator("strong")).to_have_text(["green", "red"])
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        assert serious(page) == []
        for width in (320, 390, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) <= 0, width
    page.get_by_role("link", name="Swap sides").click()
    expect(answers.locator("strong")).to_have_text(["red", "green"])
    page.get_by_role("button", name="Plain text").click()
    expect(answers).to_contain_text("a **green** boat")
    opened(page, daemon, f"#/compare/{failed}/{first}")
    expect(answers).to_contain_text("No answer")
    opened(page, daemon, f"#/compare/{first}/01M851ES4ND9PVJWPF0KQPVXTA")
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()


def test_differences_are_found_by_place_and_by_word(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    image = {"images": [PIXEL]}
    pairs = [
        (chat("t"), chat("t"), []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, [("a.b[1]", "2", "3"), ("a.b[2]", None, "4")]),
        ({"a": "1"}, {"a": 1}, [("a", "1", "1")]),
        (image, {"images": [PIXEL[:-4] + "AAAA"]}, [("images[0]", "image-1.png, 72 bytes", "image-1.png, 72 bytes")]),
        ({"a": {}}, {"a": []}, [("a", "{}", "[]")]),
    ]
    for one, other, wanted in pairs:
        found = page.evaluate(CALL, ["differences", "differences", one, other])
        assert [(each["path"], each.get("one"), each.get("other")) for each in found] == wanted
    texts = [
        ("", ""),
        ("a b c", "a x c"),
        ("a b", ""),
        ("one two", "two three"),
        ("é 😀", "e 😀"),
        ("x " * 5000, "y " * 5000),
    ]
    for before, after in texts:
        parts = page.evaluate(CALL, ["differences", "wordwise", before, after])
        assert "".join(part["text"] for part in parts if part["kind"] != "new") == before
        assert "".join(part["text"] for part in parts if part["kind"] != "gone") == after
    shown = page.evaluate(CALL, ["differences", "wordwise", "a b c d", "a x c d"])
    assert [(part["kind"], part["text"]) for part in shown] == [("same", "a "), ("gone", "b"), ("new", "x"), ("same", " c d")]  # fmt: skip  # noqa: E501


def test_usage_is_told_where_it_is_known(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    usage = {"prompt_tokens": 1200, "cached_tokens": 1000, "answer_tokens": 35, "first_token_seconds": 0.25}
    known = page.evaluate(CALL, ["job_facts", "used", {**usage, "tokens_per_second": 41.6}])
    assert known == {
        "Tokens read": "1,200, 1,000 of them from the cache",
        "Tokens written": "35",
        "First token after": "250 ms",
        "Speed": "42\u00a0tokens/s",
    }
    assert not any(page.evaluate(CALL, ["job_facts", "used", dict.fromkeys(usage)]).values())
    assert page.evaluate(CALL, ["job_facts", "used", None]) == {}
    assert page.evaluate(CALL, ["job_facts", "used", {"prompt_tokens": 0}])["Tokens read"] == "0"


def test_the_jobs_before_and_after_are_those_of_the_list_one_came_from(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    ids = [submit(daemon, f"{n}", model="ab"[n % 2]) for n in range(6)]
    until(lambda: all(state(daemon, one) == "done" for one in ids))
    walk = page.get_by_role("navigation", name="Other jobs")
    opened(page, daemon, f"#/jobs/{ids[3]}")  # by time, where there was no list
    for name, wanted in (("Next", ids[2]), ("Next", ids[1]), ("Previous", ids[2])):
        walk.get_by_role("link", name=name).click()
        expect(page.locator(".facts")).to_contain_text(wanted)
    opened(page, daemon, f"#/jobs/{ids[5]}")
    expect(walk.get_by_role("link", name="Next")).to_have_attribute("href", f"#/jobs/{ids[4]}")
    expect(walk.get_by_role("button", name="Previous")).to_be_disabled()
    walk.get_by_role("link", name="Back to the list").click()
    page.get_by_label("Model").fill("a")
    page.get_by_label("Model").press("Enter")
    page.get_by_role("table", name="Jobs").get_by_role("link", name=ids[4][-8:]).click()
    for name, wanted in (("Next", ids[2]), ("Next", ids[0]), ("Previous", ids[2])):
        walk.get_by_role("link", name=name).click()
        expect(page.locator(".facts")).to_contain_text(wanted)
    page.reload()
    expect(walk.locator("[rel=next]")).to_have_attribute("href", f"#/jobs/{ids[0]}")
    walk.get_by_role("link", name="Back to the list").click()
    expect(page).to_have_url(f"{daemon.url}/#/jobs?model=a")
    page.go_back()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare with")).to_be_visible()
    page.get_by_role("main").get_by_role("listitem").first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Two jobs")).to_be_visible()
    page.get_by_role("navigation", name="Way back").get_by_role("link", name="Back to the list").click()
    expect(page).to_have_url(f"{daemon.url}/#/jobs?model=a")
    page.get_by_role("link", name="Now", exact=True).click()
    page.locator(f'[data-id="{ids[5]}"] a').click()
    expect(walk.locator("[rel=next]")).to_have_attribute("href", f"#/jobs/{ids[4]}")


def test_the_jobs_before_and_after_are_those_that_find_found_in_its_order(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    daemon.http.post("/queue/pause")
    ids = submit_many(daemon, (chat(model="ab"[n % 2], custom_id=f"rev-{n}") for n in range(14)))
    walk = page.get_by_role("navigation", name="Other jobs")
    jobs = page.get_by_role("table", name="Jobs")
    opened(page, daemon, f"#/jobs?model=a&find={ids[0][:8]}")  # with which all ids begin
    jobs.get_by_role("link", name="rev-4", exact=True).click()
    expect(walk.locator("[rel=next]")).to_have_attribute("href", f"#/jobs/{ids[2]}")
    expect(walk.locator("[rel=prev]")).to_have_attribute("href", f"#/jobs/{ids[6]}")
    opened(page, daemon, "#/jobs?find=rev-1")  # which begins others, and goes before them
    jobs.get_by_role("link", name="rev-1", exact=True).click()
    expect(walk.locator("[rel=next]")).to_have_attribute("href", f"#/jobs/{ids[13]}")
    expect(walk.get_by_role("button", name="Previous")).to_be_disabled()


def test_a_waiting_job_says_why_and_what_goes_first(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    running = submit(daemon, "#silent")
    until(lambda: state(daemon, running) == "working")
    before = [submit(daemon, f"{n}") for n in range(7)]
    last = submit(daemon, "last")
    opened(page, daemon, f"#/jobs/{last}")
    waits = page.get_by_role("region", name="Waits")
    expect(waits).to_contain_text(f"Waits because {job(daemon, last)['why']['text']}.")
    expect(waits).to_contain_text("Position8")
    expect(page.get_by_role("region", name="Answered")).to_have_text("AnswerNo answer yet: the job waits.")
    expect(waits.get_by_role("link", name=running[-8:])).to_have_attribute("href", f"#/jobs/{running}")
    expect(waits.locator("dd li")).to_have_text([f"a …{running[-8:]} on ollama", *(f"a …{one[-8:]}" for one in reversed(before[-5:])), "and 2 more"])  # fmt: skip  # noqa: E501
    assert serious(page) == []
    waits.get_by_role("link", name=before[-1][-8:]).click()
    expect(page.locator(".facts")).to_contain_text(before[-1])
    page.get_by_role("button", name="Cancel").click()
    expect(waits).to_be_hidden()
    later = submit(daemon, "x", not_before="2090-12-24T12:00:00Z")
    opened(page, daemon, f"#/jobs/{later}")
    expect(waits).to_contain_text("it is not to start before 12/24/2090")  # as here, not as in UTC
