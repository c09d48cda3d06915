"""A job's own page: what was asked and answered, in the shapes of all endpoints, as somebody reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.e2e.page.seen import opened, serious, wider
from tests.support.api import chat, state, submit
from tests.support.foreman import Daemon, until

Fresh = Callable[..., Daemon]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LARGE = 9007199254740993  # JavaScript would round it
MARKDOWN = """#exact
# Steps

1. **Install** it:
   ```sh
   pip install foreman-llm
   ```
2. See [the page](https://example.com/).

| model | speed |
|-------|------:|
| a     |    35 |

![tracker](https://elsewhere.test/p.png) <img src=x onerror=alert(1)> <script>alert(1)</script>
"""
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "How is *Ulm*?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": {"url": "https://elsewhere.test/cat.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    },
    {
        "role": "assistant",
        "content": "Let me **look**.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": f'{{"city": "Ulm", "days": {LARGE}}}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "grey", "rain": 1.0}'},
    {"role": "user", "content": "#tool #think and tomorrow?"},
]
READ = """async ([name, value]) => (await import("/static/conversation.js"))[name](value)"""


def test_an_answer_is_drawn_or_plain_and_loads_nothing(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    job_id = submit(daemon, MARKDOWN)
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.on("dialog", lambda dialog: asked_for.append(f"dialog {dialog.message}"))
    opened(page, daemon, f"#/jobs/{job_id}")
    answer = page.get_by_role("region", name="Answered")
    heading, text = answer.get_by_role("heading", name="Steps"), answer.locator("ol > li").first
    expect(heading).to_be_visible()
    colour = "(one) => getComputedStyle(one).color"
    assert heading.evaluate(colour) == text.evaluate(colour)
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(page.locator(".facts")).to_contain_text("Tokens read5Tokens written3")
    expect(answer.get_by_role("cell", name="35")).to_be_visible()
    expect(answer.get_by_role("link", name="the page")).to_have_attribute("rel", "noopener noreferrer")
    expect(answer.get_by_role("link", name="Image: tracker")).to_be_visible()
    expect(answer).to_contain_text("<img src=x onerror=alert(1)> <script>alert(1)</script>")
    expect(answer.locator("img, script")).to_have_count(0)
    expect(page.get_by_role("region", name="Asked")).to_contain_text("1. **Install** it:")  # as it was sent
    answer.get_by_role("button", name="Copy code").click()
    expect(page.locator(".toast")).to_have_text("The code is copied.")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (320, 390, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) <= 0, width
            assert answer.locator(".table-frame").evaluate("one => one.offsetWidth === one.parentElement.clientWidth")
        assert serious(page) == []
    plain = answer.get_by_role("button", name="Plain text")
    plain.click()
    expect(plain).to_have_attribute("aria-pressed", "true")
    expect(answer).to_contain_text("1. **Install** it:\n   ```sh", use_inner_text=True)
    page.reload()
    expect(answer).to_contain_text("1. **Install** it:")  # it stays so
    plain.click()
    expect(answer.get_by_role("heading", name="Steps")).to_be_visible()
    assert [url for url in asked_for if not url.startswith(daemon.url)] == []


def test_a_conversation_with_tools_and_images_reads_as_one(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    body = {"model": "a", "endpoint": "/v1/chat/completions", "messages": CONVERSATION, "temperature": 0.5}
    job_id = daemon.http.post("/jobs", json=body).json()["job_id"]

    def with_large(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(r"\"Ulm\"", str(LARGE)))

    page.route(f"**/jobs/{job_id}", with_large)
    opened(page, daemon, f"#/jobs/{job_id}")
    asked = page.get_by_role("region", name="Asked")
    expect(asked.locator(".label")).to_have_text(["system", "user", "assistant", "tool", "user"])
    picture = asked.get_by_role("img", name="image 1")
    expect(picture).to_be_visible()
    assert picture.evaluate("one => [one.naturalWidth, one.src.startsWith('blob:')]") == [1, True]
    expect(asked).to_contain_text("image 1, image/png, 70 bytes")
    expect(asked.get_by_role("link", name="Save")).to_have_attribute("download", "image-1.png")
    expect(asked).to_contain_text("not loaded: https://elsewhere.test/cat.png")
    expect(asked).to_contain_text("image 2 cannot be shown: this browser cannot read its 3 bytes of image/png.")
    expect(asked).to_contain_text("How is *Ulm*?")
    expect(asked.locator("strong")).to_have_text("look")
    call = asked.locator(".call").first
    expect(call).to_contain_text("Calls weather")
    expect(call.locator("dl div")).to_have_text(["cityUlm", f"days{LARGE}"])
    expect(asked).to_contain_text("Result of weather")
    expect(asked.locator(".call pre")).to_have_text('{\n  "sky": "grey",\n  "rain": 1.0\n}', use_inner_text=True)
    asked.get_by_text("The rest of the request").click()
    expect(asked.locator("details pre")).to_contain_text('"temperature": 0.5')
    answer = page.get_by_role("region", name="Answered")
    expect(answer).to_contain_text("Calls weather")
    expect(answer.locator("dl div")).to_have_text([f"city{LARGE}"])
    expect(answer.get_by_role("button", name="Plain text")).to_have_count(0)  # it would change nothing
    assert serious(page) == []


def test_other_answers_and_what_is_gone_are_told(page: Page, fresh: Fresh) -> None:
    daemon = fresh(max_attempts=1)
    embedded = daemon.http.post("/jobs", json={"model": "a", "endpoint": "/api/embed", "input": ["x", "y"]}).json()
    failed, shaped = submit(daemon, "#status=400 x"), submit(daemon, "x", format={"type": "boolean"})
    waits = submit(daemon, "x", not_before="2090-01-01T00:00:00Z")
    daemon.http.post(f"/jobs/{waits}/cancel")
    until(lambda: state(daemon, failed) == "failed" and state(daemon, shaped) == "done")
    answer, asked = (page.get_by_role("region", name=name) for name in ("Answered", "Asked"))
    opened(page, daemon, f"#/jobs/{embedded['job_id']}")
    expect(answer).to_contain_text("2 embeddings of 3 numbers")
    expect(asked.locator(".message")).to_have_text(["userx", "usery"])
    for job_id, words in ((failed, "No answer: the job failed."), (waits, "No answer: the job was cancelled.")):
        opened(page, daemon, f"#/jobs/{job_id}")
        expect(answer).to_contain_text(words)

    def gone(route: Route) -> None:
        route.fulfill(status=404, json={"error": "no such job", "code": "job_not_found"})

    page.route("**/request", gone)
    opened(page, daemon, f"#/jobs/{failed}")
    expect(asked).to_contain_text("The request is no longer kept.")
    page.unroute("**/request")
    page.route("**/request", lambda route: route.fulfill(body="--boundary\r\n", content_type="application/json"))
    opened(page, daemon, f"#/jobs/{shaped}")
    expect(asked).to_contain_text("The request is not JSON.")


def test_requests_and_answers_are_read_in_the_shapes_of_all_endpoints(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    text = {"kind": "text", "text": "t"}
    call = {"kind": "call", "name": "f", "given": {"x": 1}}
    image = {"kind": "image", "type": "", "data": PIXEL}
    typed = image | {"type": "image/png"}
    result = {"kind": "result", "name": "f", "text": "r", "failed": False}
    thought = {"kind": "thinking", "text": "hm"}
    asked: list[tuple[dict[str, Any], list[Any]]] = [
        (chat("t", images=[]), [("user", [text])]),
        ({"messages": [{"role": "user", "content": "t", "images": [PIXEL]}]}, [("user", [text, image])]),
        ({"prompt": "t", "system": "t", "images": [PIXEL]}, [("system", [text]), ("user", [text, image])]),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
                          {"role": "tool", "tool_name": "f", "content": "r"}]},
            [("assistant", [call]), ("tool", [result])],
        ),
        (
            {"instructions": "t", "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "t"},
                                             {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x": 1}'},
                {"type": "function_call_output", "call_id": "c", "output": "r"},
            ]},
            [("system", [text]), ("user", [text, typed]), ("assistant", [call]), ("tool", [result])],
        ),
        ({"input": "t"}, [("user", [text])]),
        (
            {"system": [{"type": "text", "text": "t"}], "messages": [
                {"role": "user", "content": [{"type": "image", "source": {
                    "type": "base64", "media_type": "image/png", "data": PIXEL}}, {"type": "text", "text": "t"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"},
                                                  {"type": "tool_use", "id": "u", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "content": [
                    {"type": "text", "text": "r"}]}]},
            ]},
            [("system", [text]), ("user", [typed, text]), ("assistant", [thought, call]), ("user", [result])],
        ),
        ({"messages": "nonsense"}, []),
        ({"messages": [None, 1, "t", {}, {"role": 5, "content": 7}]}, [("user", [text])]),
        ({"input": [1, 2, 3]}, []),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            [("user", [{"kind": "other", "name": "input_audio"}])],
        ),
    ]  # fmt: skip
    for request, wanted in asked:
        shown = [{"role": role, "parts": parts} for role, parts in wanted]
        assert page.evaluate(READ, ["asked", request]) == shown, request
    bad = {"kind": "call", "name": "f", "given": "{x"}
    answered: list[tuple[dict[str, Any], list[Any]]] = [
        ({"message": {"role": "assistant", "content": "t", "thinking": "hm"}}, [[thought, text]]),
        ({"response": "t", "thinking": "hm"}, [[thought, text]]),
        ({"choices": [{"text": "t"}, {"text": "t"}]}, [[text], [text]]),
        (
            {"choices": [{"message": {"reasoning_content": "hm", "content": None, "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": "{x"}}]}}]},
            [[thought, bad]],
        ),
        (
            {"output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]},
                        {"type": "function_call", "name": "f", "arguments": '{"x": 1}'}]},
            [[thought, text, call]],
        ),
        ({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "t"}]}, [[text]]),
        ({"embeddings": [[1, 2]]}, [[{"kind": "vectors", "vectors": [[1, 2]]}]]),
        ({"data": [{"embedding": [1]}]}, [[{"kind": "vectors", "vectors": [[1]]}]]),
        ({}, [[]]),
        ({"choices": [], "data": "x", "content": 5}, []),
    ]  # fmt: skip
    for result_of, parts in answered:
        assert page.evaluate(READ, ["answered", result_of]) == parts, result_of


def test_a_long_hostile_answer_leaves_the_page_quick_to_use(page: Page, fresh: Fresh) -> None:
    daemon = fresh()
    job_id = submit(daemon, f"#exact {'*' * 1_000_000}")
    until(lambda: state(daemon, job_id) == "done")
    opened(page, daemon, f"#/jobs/{job_id}")
    answer = page.get_by_role("region", name="Answered")
    more = answer.get_by_role("button", name="Show more (800,008 characters left)")
    expect(more).to_be_visible()
    assert answer.locator(".written > *").count() == 21  # the pieces drawn so far, and the button
    page.get_by_role("button", name="Copy id").click()
    expect(page.locator(".toast")).to_have_text("The id is copied.")
    more.click()
    expect(answer.get_by_role("button", name="Show more (600,008 characters left)")).to_be_visible()


def test_a_state_has_its_name_on_the_timeline_where_there_is_room(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/settings")
    steps = {"queued": 0, "loading": 1, "working": 8, "done": 10}
    events = [
        {"state": name, "timestamp": f"2026-03-01T00:00:{second:02}Z", "attempt": 0} for name, second in steps.items()
    ]
    draw = (
        """async (events) => (await import("/static/timeline.js")).timeline(document.querySelector("main"), events)"""
    )
    page.evaluate(draw, events)
    for width, shown in ((1280, ["loading 7 s", "working 2 s"]), (390, ["loading 7 s"])):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator(".scale b:visible").all_text_contents() == shown
