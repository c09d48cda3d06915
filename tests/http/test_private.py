"""Private jobs: with tokens of their own, callers know nothing of each other's jobs, on any route there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import trio
from quart_trio import QuartTrio

from foreman.domain.endpoints import EVERY
from foreman.http.asgi import BLUEPRINTS
from tests.e2e.feed.conftest import Closed, joined
from tests.http.conftest import Api
from tests.support.api import chat
from tests.support.foreman import Daemon, an_upstream, until

Fresh = Callable[..., Api]
TOKENS = "alice:one,bob:two"
UNKNOWN = "7" + "Z" * 25
BEARERS = {"alice": "one", "bob": "two", "boss": "boss"}

# What becomes of others' jobs on each route there is. A route that is not here fails the test: decide, and add it.
HIDDEN = "404, as of a job that never was"
UNSEEN = "404, as of a response that never was"
OWN = "tells of one's own jobs alone"
ADMIN = "wants the admin token"
NONE = "tells of no job, or of the one that it makes"
OWN_MESSAGE_BATCHES = "tells of one's own batches alone"  # tests/http/compat/test_message_batches.py
OWN_BATCHES = "tells of one's own batches alone"  # tests/http/compat/test_batches.py
OWN_FILES = "tells of one's own files alone"  # tests/http/compat/test_files.py
OWN_ENDPOINTS = "tells of one's own endpoints alone"  # tests/http/compat/test_webhook_endpoints.py
NODES = "wants the signature of another node"
ROUTES = {
    "GET /jobs/<job_id>": HIDDEN,
    "GET /jobs/<job_id>/request": HIDDEN,
    "GET /jobs/<job_id>/events": HIDDEN,
    "GET /jobs/<job_id>/stream": HIDDEN,
    "GET /jobs/<job_id>/artifacts/<name>": HIDDEN,
    "GET /jobs/<job_id>/deliveries": HIDDEN,
    "POST /jobs/<job_id>/deliveries/<delivery_id>/redeliver": HIDDEN,
    "POST /jobs/<job_id>/cancel": HIDDEN,
    "POST /jobs/<job_id>/uncancel": HIDDEN,
    "POST /jobs/<job_id>/retry": HIDDEN,
    "DELETE /jobs/<job_id>": HIDDEN,
    **{f"{method} /v1/responses/<response_id>": UNSEEN for method in ("GET", "DELETE")},
    "GET /v1/responses/<response_id>/input_items": UNSEEN,
    "POST /v1/responses/<response_id>/cancel": UNSEEN,
    "GET /jobs": OWN,
    "GET /jobs/export": OWN,
    **{f"POST /jobs/{verb}": OWN for verb in ("cancel", "uncancel", "retry", "delete")},
    "GET /queue": OWN,
    "GET /queue/jobs": OWN,
    "GET /usage": OWN,
    "GET /events": OWN,
    "WEBSOCKET /events": OWN,
    "GET /metrics": ADMIN,
    "GET /targets": NONE,
    "GET /nodes": NONE,
    "GET /me": OWN,
    "GET /settings": ADMIN,
    "GET /nodes/between/outputs/<job_id>": NODES,
    "GET /nodes/between/errors/<job_id>": NODES,
    "POST /nodes/between/calls/<path:path>": NODES,
    "POST /nodes/between/news": NODES,
    "GET /targets/<name>/log": ADMIN,
    "POST /targets/<name>/<any(drain, resume):verb>": ADMIN,
    "POST /targets/<name>/<any(load, unload):verb>": ADMIN,
    "POST /queue/<any(pause, resume):verb>": ADMIN,
    "POST /reload": ADMIN,
    "POST /api/<any(pull, push, create, copy):verb>": ADMIN,
    "DELETE /api/<any(delete):verb>": ADMIN,
    "GET /api/blobs/<digest>": ADMIN,
    "POST /api/blobs/<digest>": ADMIN,
    **{f"{method} /upstream/<path:model_and_path>": ADMIN for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
    "WEBSOCKET /upstream/<path:model_and_path>": NONE,
    "POST /v1/files": NONE,
    "GET /v1/files": OWN_FILES,
    "GET /v1/files/<file_id>": OWN_FILES,
    "GET /v1/files/<file_id>/content": OWN_FILES,
    "DELETE /v1/files/<file_id>": OWN_FILES,
    "POST /v1/batches": OWN_FILES,
    "GET /v1/batches": OWN_BATCHES,
    "GET /v1/batches/<batch_id>": OWN_BATCHES,
    "POST /v1/batches/<batch_id>/cancel": OWN_BATCHES,
    "POST /v1/messages/batches": OWN_MESSAGE_BATCHES,
    "GET /v1/messages/batches": OWN_MESSAGE_BATCHES,
    "GET /v1/messages/batches/<batch_id>": OWN_MESSAGE_BATCHES,
    "DELETE /v1/messages/batches/<batch_id>": OWN_MESSAGE_BATCHES,
    "POST /v1/messages/batches/<batch_id>/cancel": OWN_MESSAGE_BATCHES,
    "GET /v1/messages/batches/<batch_id>/results": OWN_MESSAGE_BATCHES,
    "GET /batches": OWN_BATCHES,
    "GET /batches/<batch_id>": OWN_BATCHES,
    "GET /batches/<batch_id>/results": OWN_BATCHES,
    "POST /batches/<batch_id>/cancel": OWN_BATCHES,
    "GET /v1/webhook_event_types": NONE,
    "POST /v1/webhook_endpoints": NONE,
    "GET /v1/webhook_endpoints": OWN_ENDPOINTS,
    **{f"{method} /v1/webhook_endpoints/<endpoint_id>": OWN_ENDPOINTS for method in ("GET", "POST", "DELETE")},
    "POST /v1/webhook_endpoints/<endpoint_id>/rotate_secret": OWN_ENDPOINTS,
    "POST /v1/webhook_endpoints/<endpoint_id>/test": OWN_ENDPOINTS,
    "GET /v1/webhook_endpoints/<endpoint_id>/deliveries": OWN_ENDPOINTS,
    "POST /v1/webhook_endpoints/<endpoint_id>/deliveries/<event_id>/redeliver": OWN_ENDPOINTS,
    "POST /tickets": NONE,
    "POST /jobs": NONE,
    "GET /": NONE,
    "GET /static/<name>": NONE,
    "GET /healthz": NONE,
    "GET /readyz": NONE,
    "GET /openapi.json": NONE,
    "GET /api/version": NONE,
    "GET /api/tags": NONE,
    "GET /api/ps": NONE,
    "POST /api/show": NONE,
    "POST /api/embeddings": NONE,
    "GET /v1/models": NONE,
    "GET /v1/models/<path:name>": NONE,
    "GET /v1/models//<path:name>": NONE,
    **{f"POST {path}": NONE for path in EVERY},
    "POST /v1/responses/input_tokens": NONE,
    "POST /v1/messages/count_tokens": NONE,
}


def routes() -> Iterator[str]:
    app = QuartTrio("routes", static_folder=None)
    for room in BLUEPRINTS:
        app.register_blueprint(room)
    for rule in app.url_map.iter_rules():
        methods = {"WEBSOCKET"} if rule.websocket else (rule.methods or set()) - {"HEAD", "OPTIONS"}
        yield from (f"{method} {rule.rule}" for method in methods)


def test_of_every_route_it_is_known_what_it_tells_of_others_jobs() -> None:
    assert sorted(routes()) == sorted(ROUTES)


@dataclass
class Shared:
    """A Foreman with private jobs: alice has one that is done, one that waits for its time, and one that runs."""

    api: Api
    done: str
    parked: str
    running: str
    bobs: str

    def ask(self, who: str, method: str, path: str, **given: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {BEARERS[who]}"} | given.pop("headers", {})
        with httpx2.Client(base_url=self.api.daemon.url, trust_env=False, timeout=30) as http:
            return http.request(method, path, headers=headers, **given)

    def get(self, who: str, path: str) -> Any:
        answer = self.ask(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, who: str, text: str, **fields: Any) -> str:
        answer = self.ask(who, "POST", "/jobs", json=chat(text, **fields))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def remove(self, *job_ids: str) -> None:
        for job_id in job_ids:
            self.ask("boss", "POST", f"/jobs/{job_id}/cancel")
            assert self.ask("boss", "DELETE", f"/jobs/{job_id}").status_code == 204

    def until_state(self, who: str, job_id: str, state: str) -> None:
        until(lambda: self.get(who, f"/jobs/{job_id}")["state"] == state)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One for all tests here: what they add they take away."""
    folder = tmp_path_factory.mktemp("private") / "data"
    settings = {"token": TOKENS, "admin_token": "boss", "private_jobs": True}
    with an_upstream("--kind", "ollama") as upstream, Daemon(folder, ollama_url=upstream.url, **settings) as daemon:
        yield filled(Shared(Api(daemon, upstream), "", "", "", ""))
        assert daemon.errors == []


def filled(here: Shared) -> Shared:
    here.bobs = here.submit("bob", "his", custom_id="his-own")
    here.until_state("bob", here.bobs, "done")
    here.done = here.submit("alice", "her-words", custom_id="her-own", state_webhook_url="http://127.0.0.1:9/hook")
    here.until_state("alice", here.done, "done")
    here.parked = here.submit("alice", "her-words", custom_id="her-own-2", not_before="2090-01-01T00:00:00Z")
    here.running = here.submit("alice", "#silent", custom_id="her-own-3", model="b")
    here.until_state("alice", here.running, "working")
    return here


def test_others_responses_are_as_if_they_never_were_and_cannot_be_continued(shared: Shared) -> None:
    asked = {"model": "a", "input": "hers", "background": True}
    response_id = shared.ask("alice", "POST", "/v1/responses", json=asked).json()["id"]
    never = f"resp_{UNKNOWN}"
    for route in (route for route, told in ROUTES.items() if told is UNSEEN):
        method, _, rule = route.partition(" ")
        refused = shared.ask("bob", method, rule.replace("<response_id>", response_id))
        unknown = shared.ask("bob", method, rule.replace("<response_id>", never))
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "response_not_found"), route
        assert refused.text.replace(response_id, never) == unknown.text
    continued = asked | {"previous_response_id": response_id}
    for who in ("bob", "boss"):
        refused = shared.ask(who, "POST", "/v1/responses", json=continued)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
    for who in ("boss", "alice"):
        assert shared.get(who, f"/v1/responses/{response_id}")["id"] == response_id
    assert shared.ask("alice", "DELETE", f"/v1/responses/{response_id}").status_code == 200


def test_others_jobs_are_as_if_they_never_were(shared: Shared) -> None:
    delivery = shared.get("alice", f"/jobs/{shared.done}/deliveries")["deliveries"][0]["delivery_id"]
    for route in (route for route, told in ROUTES.items() if told is HIDDEN):
        method, _, rule = route.partition(" ")
        for job_id in (shared.done, shared.parked, shared.running):
            path = rule.replace("<name>", "completion").replace("<delivery_id>", str(delivery))
            refused = shared.ask("bob", method, path.replace("<job_id>", job_id))
            never = shared.ask("bob", method, path.replace("<job_id>", UNKNOWN))
            assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found"), (route, refused.text)
            assert refused.text.replace(job_id, UNKNOWN) == never.text
        if method == "GET":
            for who in ("alice", "boss"):
                assert shared.ask(who, "GET", path.replace("<job_id>", shared.done)).status_code == 200, route
    states = [
        shared.get("alice", f"/jobs/{job_id}")["state"] for job_id in (shared.done, shared.parked, shared.running)
    ]
    assert states == ["done", "queued", "working"]
    another = shared.submit("alice", "x", not_before="2090-01-01T00:00:00Z")
    for who, method, rest, status in (
        ("boss", "POST", "/cancel", 200),
        ("alice", "POST", "/retry", 200),
        ("alice", "POST", "/cancel", 200),
        ("alice", "DELETE", "", 204),
    ):
        assert shared.ask(who, method, f"/jobs/{another}{rest}").status_code == status


def test_no_answer_names_others_jobs(shared: Shared) -> None:
    words = [shared.done, shared.parked, shared.running, "her-own", "her-words"]
    for route, told in ROUTES.items():
        method, _, path = route.partition(" ")
        path = path.replace("<any(pause, resume):verb>", "resume").replace("<any(delete):verb>", "delete")
        path = path.replace("<any(pull, push, create, copy):verb>", "pull").replace("<digest>", "sha256:" + "0" * 64)
        if (method != "GET" and told is not ADMIN) or path == "/events" or "<" in path:
            continue  # other methods make jobs of their own; the feed does not end
        answer = shared.ask("bob", method, path, json=None if method == "GET" else {"model": "a"})
        assert (answer.status_code == 403) == (told is ADMIN), (route, answer.text)
        assert [word for word in words if word in answer.text] == [], route


def test_lists_hold_ones_own_jobs_alone(shared: Shared) -> None:
    hers = [shared.running, shared.parked, shared.done]

    def listed(who: str, query: str = "") -> list[str]:
        return [job["job_id"] for job in shared.get(who, f"/jobs{query}")["jobs"]]

    assert (listed("alice"), listed("bob"), listed("boss")) == (hers, [shared.bobs], [*hers, shared.bobs])
    for query in ("custom_id=her-own", "custom_id=her-own*", f"id={shared.done}", f"id={shared.done[-8:]}"):
        assert (shared.done in listed("alice", f"?{query}"), listed("bob", f"?{query}")) == (True, []), query
    for query in ("state=done", "order=ended", "model=a", "endpoint=/api/chat", "priority=normal", "limit=1"):
        assert listed("bob", f"?{query}") == [shared.bobs], query
    assert listed("bob", "?caller=alice") == []
    assert listed("boss", "?caller=alice") == listed("alice", "?caller=alice") == hers
    # A place that another's job has is a place like any other: it says nothing of that job.
    after = [listed("bob", f"?after={place}") for place in (shared.running, UNKNOWN, shared.bobs)]
    assert after == [[shared.bobs], [shared.bobs], []]
    assert [job["caller"] for job in shared.get("boss", "/jobs")["jobs"]] == ["alice"] * 3 + ["bob"]
    page = shared.get("alice", "/jobs?limit=2")
    assert shared.get("alice", f"/jobs?limit=2&after={page['next']}")["jobs"][0]["job_id"] == shared.done


def test_the_queue_counts_all_and_names_ones_own(shared: Shared) -> None:
    waiting = {who: shared.submit(who, "x", model="b") for who in ("alice", "bob", "boss")}
    running = {who: [job["job_id"] for job in shared.get(who, "/queue")["running"]] for who in waiting}
    assert running == {"alice": [shared.running], "bob": [], "boss": [shared.running]}
    assert [shared.get(who, "/queue")["queued"] for who in waiting] == [4] * 3
    line = {who: shared.get(who, "/queue/jobs") for who in waiting}
    found = {who: [(job["job_id"], job["queue_position"]) for job in told["jobs"]] for who, told in line.items()}
    ranked = [(waiting["alice"], 1), (waiting["bob"], 2), (waiting["boss"], 3)]
    assert found == {"alice": ranked[:1], "bob": ranked[1:2], "boss": ranked}
    assert [[job["job_id"] for job in line[who]["scheduled"]] for who in line] == [[shared.parked], [], [shared.parked]]
    assert shared.get("bob", "/queue/jobs?limit=1")["jobs"][0]["job_id"] == waiting["bob"]
    shared.remove(*waiting.values())


def test_usage_is_ones_own(shared: Shared) -> None:
    def submitted(who: str, query: str = "") -> dict[str | None, int]:
        rows = shared.get(who, f"/usage?step=day{query}")["rows"]
        names = {row["by"] for row in rows}
        return {name: sum(row["submitted"] for row in rows if row["by"] == name) for name in names}

    every = submitted("boss", "&by=caller")
    assert every["alice"] >= 3 and every["bob"] >= 1
    for who in ("alice", "bob"):
        assert submitted(who, "&by=caller") == {who: every[who]}
        assert submitted(who) == {None: every[who]}
    assert submitted("boss") == {None: sum(every.values())}
    assert submitted("alice", "&by=model").keys() == submitted("boss", "&by=model").keys() == {"a", "b"}
    last = {who: shared.get(who, "/usage?step=minute")["rows"][-1] for who in BEARERS}
    assert (last["bob"]["waiting"], last["bob"]["running"]) == (None, None)  # which are counted of all
    assert last["boss"]["waiting"] >= 1 and last["boss"]["running"] == 1


def test_the_feed_tells_of_ones_own_jobs_alone(shared: Shared) -> None:
    last = shared.submit("bob", "his last", not_before="2090-01-01T00:00:00Z")

    async def over_websocket(query: str) -> list[str]:
        told: list[str] = []
        async with joined(shared.api.daemon, query, headers={"Authorization": "Bearer two"}) as feed:
            await feed.next()
            while last not in told:
                told.append((await feed.next())["job_id"])
        return told

    def over_sse(query: str) -> list[str]:
        told: list[str] = []
        headers = {"Authorization": "Bearer two", "Accept": "text/event-stream"}
        url = f"{shared.api.daemon.url}/events{query}"
        with httpx2.stream("GET", url, headers=headers, trust_env=False, timeout=30) as answer:
            lines = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
            while last not in told:
                told += [event["job_id"] for event in [next(lines)] if "job_id" in event]
        return told

    for query in ("?after=0", f"?after=0&job_id={shared.done}&job_id={shared.bobs}&job_id={last}"):
        for told in (trio.run(over_websocket, query), over_sse(query)):
            assert {shared.done, shared.parked, shared.running}.isdisjoint(told)
            assert told[:4] == [shared.bobs] * 4
    shared.remove(last)


def test_the_feed_wants_a_token_too(shared: Shared) -> None:
    async def refused() -> None:
        async with joined(shared.api.daemon):
            pass

    with pytest.raises(Closed) as refusal:
        trio.run(refused)
    assert refusal.value.code == 401


def test_what_belonged_to_nobody_is_the_admins(fresh: Fresh) -> None:
    api = fresh()
    job_id = api.submit("before there were tokens")
    api.ended(job_id)
    api.daemon.terminate()
    api.daemon.wait()
    after = Shared(fresh(token=TOKENS, admin_token="boss", private_jobs=True), "", "", "", "")
    assert [after.ask(who, "GET", f"/jobs/{job_id}").status_code for who in BEARERS] == [404, 404, 200]


def test_without_an_admin_token_nobody_sees_or_moves_what_concerns_all(fresh: Fresh) -> None:
    here = Shared(fresh(token=TOKENS, private_jobs=True), "", "", "", "")
    job_id = here.submit("alice", "x")
    assert here.ask("bob", "GET", f"/jobs/{job_id}").status_code == 404
    for method, path in (("GET", "/metrics"), ("POST", "/queue/pause"), ("POST", "/api/pull")):
        assert here.ask("alice", method, path, json={"model": "a"}).status_code == 403, path
