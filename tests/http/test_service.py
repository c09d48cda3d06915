"""The service's own routes, and who may come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product

import httpx2
import pytest

from tests.http.conftest import Api
from tests.support.foreman import ROOT, Daemon, an_upstream, until

Fresh = Callable[..., Api]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def hush(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Foreman whose token is hush."""
    with (
        an_upstream("--kind", "ollama") as upstream,
        Daemon(tmp_path_factory.mktemp("hush") / "data", ollama_url=upstream.url, token="hush") as daemon,
    ):
        yield daemon
        assert daemon.errors == []


def test_a_healthy_foreman_says_so(api: Api) -> None:
    assert api.http.get("/healthz").json()["degraded"] is False
    ready = api.http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/healthz", "/readyz", "/queue", "/queue/jobs", "/jobs", "/openapi.json")),
        *(("GET", path) for path in ("/jobs/JOB", "/jobs/JOB/events", "/jobs/JOB/request", "/jobs/JOB/deliveries")),
        *(("GET", path) for path in ("/v1/models", "/v1/models/a", "/usage", "/jobs/none", "/nowhere")),
        *(("POST", path) for path in ("/jobs", "/jobs/JOB/cancel", "/v1/embeddings", "/v1/chat/completions")),
        *(("POST", path) for path in ("/v1/messages", "/api/chat", "/api/generate", "/api/embed")),
        ("DELETE", "/jobs"),
    ],
)
def test_every_answer_in_json_ends_its_line(api: Api, method: str, path: str) -> None:
    job_id = api.submit("x")
    api.ended(job_id)
    asked = {"model": "a", "messages": [], "prompt": "x", "input": "x", "stream": False}
    response = api.http.request(method, path.replace("JOB", job_id), json=asked if method == "POST" else None)
    assert response.headers["content-type"] == "application/json"
    assert response.content.endswith((b"}\n", b"]\n")), response.content[-40:]
    assert not response.content.endswith(b"\n\n")


@pytest.mark.alone
def test_the_metrics_count_what_happened_and_each_is_documented(fresh: Fresh) -> None:
    api = fresh()
    api.ended(api.submit("x"))
    shown = api.http.get("/metrics").text
    assert 'foreman_changes_total{state="done"} 1.0' in shown
    assert 'outcome="done"} 1.0' in shown
    assert 'foreman_target_up{target="ollama"} 1.0' in shown
    documented = (ROOT / "docs" / "metrics.md").read_text()
    names = [line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")]
    assert [name for name in names if not name.endswith("_created") and f"`{name}`" not in documented] == []


def test_the_metrics_know_how_many_read_the_feed(fresh: Fresh) -> None:
    api = fresh()

    def readers() -> str:
        return next(
            line for line in api.http.get("/metrics").text.splitlines() if line.startswith("foreman_feed_readers ")
        )

    with api.daemon.client() as other, other.stream("GET", "/events", headers={"Accept": "text/event-stream"}):
        assert readers() == "foreman_feed_readers 1.0"
    until(lambda: readers() == "foreman_feed_readers 0.0")


def test_the_queue_tells_who_waits_and_who_runs(fresh: Fresh) -> None:
    api = fresh(give_way=False)
    running = api.submit("#silent", custom_id="first")
    api.until_state("working", running)
    waiting = [api.submit("x", "b", priority="high"), api.submit("x"), api.submit("x", "b")]
    api.submit("x", not_before="2090-01-01T00:00:00Z")
    queue = api.http.get("/queue").json()
    assert (queue["queued"], queue["slots"], queue["paused"], queue["degraded"]) == (4, 1, False, False)
    assert (queue["scheduled"], queue["defaults"]) == (
        1,
        {"max_attempts": 3, "timeout": 3600, "max_body": 64 * 2**20},
    )
    assert queue["by_model"] == {"a": {"high": 0, "normal": 2, "low": 0}, "b": {"high": 1, "normal": 1, "low": 0}}
    [one] = queue["running"]
    assert (one["job_id"], one["model"], one["state"], one["attempt"]) == (running, "a", "working", 1)
    assert one["custom_id"] == "first"
    assert queue["resident"] == "a"
    assert 0 <= queue["oldest_seconds"] < 60
    # The high job makes its model resident, so the other job of that model follows it.
    assert [api.job(job_id)["queue_position"] for job_id in waiting] == [1, 3, 2]


@pytest.mark.alone
def test_the_queue_and_the_metrics_tell_of_models_not_of_spellings(fresh: Fresh) -> None:
    api = fresh()
    running = api.submit("#silent", "LIBRARY/a")
    api.until_state("working", running)
    names = ["".join(letters) for letters in product(*zip("a:latest", "A:LATEST", strict=True))]
    lines = "".join(json.dumps({"model": name, "messages": []}) + "\n" for name in names)
    assert api.http.post("/jobs", content=lines, headers={"Content-Type": "application/x-ndjson"}).status_code == 202
    queue = api.http.get("/queue").json()
    assert (queue["queued"], queue["by_model"]) == (len(names), {"a": {"high": 0, "normal": len(names), "low": 0}})
    told = [line for line in api.http.get("/metrics").text.splitlines() if line.startswith("foreman_jobs_")]
    assert told == [
        f'foreman_jobs_waiting{{model="a",priority="normal"}} {len(names)}.0',
        'foreman_jobs_running{model="a",state="working",target="ollama"} 1.0',
    ]


def test_positions_change_when_a_high_job_arrives(fresh: Fresh) -> None:
    api = fresh(give_way=False)
    running = api.submit("#silent")
    api.until_state("working", running)
    normal = api.submit("x")
    assert api.job(normal)["queue_position"] == 1
    high = api.post("x", priority="high").json()
    assert high["queue_position"] == 1
    assert api.job(normal)["queue_position"] == 2


def test_with_a_token_every_route_but_the_probes_wants_it(fresh: Fresh) -> None:
    api = fresh(token="hush,other")
    api.daemon.token = ""
    with api.daemon.client() as stranger:
        assert [stranger.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        for path in ("/queue", "/jobs", "/nowhere"):
            refused = stranger.get(path)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        for wrong in (
            "Bearer wrong",
            "Bearer hus",
            "Bearer hushh",
            "Bearer",
            "Basic hush",
            "hush",
            "Bearer hush,other",
            "Bearer \xff",
        ):
            header = {b"Authorization": wrong.encode("latin-1")}
            assert stranger.get("/queue", headers=header).status_code == 401
        for right in ("Bearer hush", "bearer other"):
            assert stranger.get("/queue", headers={"Authorization": right}).status_code == 200


def test_x_api_key_opens_every_route_that_a_bearer_token_opens(fresh: Fresh) -> None:
    api = fresh(token="alice:one,plain", admin_token="boss")
    with httpx2.Client(base_url=api.daemon.url, trust_env=False) as http:
        for path in ("/jobs", "/api/tags", "/v1/models", "/events", "/openapi.json"):
            assert http.get(path, headers={"x-api-key": "wrong"}).status_code == 401
            for token in ("one", "alice:one", "plain", "boss"):
                assert http.get(path, headers={"X-Api-Key": token}).status_code in (200, 406), path
        unknown = http.get("/jobs", headers={"x-api-key": "wrong"}).json()
        assert unknown["error"] == "the token is not known here" and "x-api-key" in unknown["hint"]
        for kept in ({"x-api-key": "one"}, {"x-api-key": "one", "Authorization": "Bearer unused"}):
            payload = {"model": "a", "messages": [], "not_before": "2090-01-01T00:00:00Z"}
            job_id = http.post("/jobs", json=payload, headers=kept).json()["job_id"]
            assert http.get(f"/jobs/{job_id}", headers=kept).json()["owner"] == "alice"
            assert http.post(f"/jobs/{job_id}/cancel", headers={"x-api-key": "plain"}).status_code == 403
            assert http.post(f"/jobs/{job_id}/cancel", headers={"x-api-key": "boss"}).status_code == 200
        assert http.get("/metrics", headers={"x-api-key": "one"}).status_code == 403
        assert http.get("/metrics", headers={"x-api-key": "boss"}).status_code == 200
        for token, status in (("one", 101), ("wrong", 401)):
            assert http.get("/events", headers=UPGRADE | {"x-api-key": token}).status_code == status


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", ""),
        *("evil.docker.internal", "host.docker.internal.evil.example", "evillocalhost", "printer.local"),
    ],
)
def test_a_name_that_is_not_ours_is_refused(api: Api, host: str) -> None:
    response = api.http.get("/queue", headers={"Host": host})
    assert response.status_code in (400, 403)
    if response.status_code == 403:
        assert response.json()["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:1234", "127.0.0.1", "LOCALHOST", "[::1]:80", "[::1]", "foreman.localhost:8080"),
        *("host.docker.internal:18110", "Host.Containers.Internal", "0.0.0.0:8080", "192.168.7.1", "[fd00::1]:80"),
    ],
)
def test_names_that_lead_here_by_their_meaning_and_addresses_are_ours(api: Api, host: str) -> None:
    assert api.http.get("/queue", headers={"Host": host}).status_code == 200


def test_a_name_may_be_allowed(fresh: Fresh) -> None:
    api = fresh(allowed_hosts="foreman.example, other")
    assert api.http.get("/queue", headers={"Host": "Foreman.Example:443"}).status_code == 200
    assert api.http.get("/queue", headers={"Host": "evil.example"}).status_code == 403


def test_the_name_that_is_advertised_is_ours(fresh: Fresh) -> None:
    api = fresh(advertise_url="http://gpu1.lan:8080")
    assert api.http.get("/queue", headers={"Host": "GPU1.lan:8080"}).status_code == 200
    assert api.http.get("/queue", headers={"Host": "gpu1.evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1.evil.example", ""),
        *("http://evil.localhost", "http://127.0.0.1@evil.example", "http://127.0.0.11", "ftp://localhost"),
        *("chrome-extension://abc", "app:evil.example", "https://app://evil.example", "http://host.docker.internal"),
    ],
)
def test_pages_of_other_sites_are_refused_on_every_route(api: Api, origin: str) -> None:
    for method, path in (("GET", "/queue"), ("POST", "/jobs"), ("POST", "/api/chat"), ("OPTIONS", "/jobs")):
        response = api.http.request(method, path, headers={"Origin": origin})
        assert (response.status_code, "Access-Control-Allow-Origin" in response.headers) == (403, False)
    response = api.http.get("/events", headers=UPGRADE | {"Origin": origin})
    assert (response.status_code, response.headers["Connection"]) == (403, "close")


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://localhost",
            "https://localhost:3000",
            "http://127.0.0.1:5173",
            "http://0.0.0.0:8000",
            "http://[::1]:1",
        ),
        *("app://obsidian.md", "app://-", "file://", "tauri://localhost", "vscode-webview://1a2b", "VSCODE-FILE://x"),
    ],
)
def test_pages_of_this_machine_and_of_programs_may_ask_but_need_the_token(hush: Daemon, origin: str) -> None:
    from_page = {"Origin": origin}
    with httpx2.Client(base_url=hush.url, trust_env=False, verify=False) as page:
        wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-api-key"}
        asked = page.options("/api/chat", headers=from_page | wanted)
        assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, origin)
        assert "PUT" in asked.headers["Access-Control-Allow-Methods"]
        refused = page.get("/v1/models", headers=from_page)
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin)
        served = page.get("/v1/models", headers=from_page | {"Authorization": "Bearer hush"})
        assert (served.status_code, served.headers["Access-Control-Allow-Origin"]) == (200, origin)
        assert page.get("/events", headers=UPGRADE | from_page).status_code == 401
        assert "Origin" in served.headers["Vary"]


def test_its_own_pages_are_served(api: Api) -> None:
    assert api.http.get("/queue", headers={"Origin": api.daemon.url}).status_code == 200


def test_a_site_may_be_allowed(fresh: Fresh) -> None:
    api = fresh(cors_origins="https://Chat.example", token="hush")
    asked = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
    with httpx2.Client(base_url=api.daemon.url, trust_env=False) as stranger:
        preflight = stranger.options("/jobs", headers=asked | {"Access-Control-Request-Headers": "authorization"})
        assert preflight.status_code == 204 and "Content-Type" not in preflight.headers
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://chat.example"
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization"
        refused = stranger.get("/queue", headers={"Origin": "https://chat.example"})
        assert refused.status_code == 401 and "Access-Control-Allow-Origin" in refused.headers
    response = api.http.get("/queue", headers={"Origin": "https://chat.example", "Authorization": "Bearer hush"})
    assert response.status_code == 200 and "X-Foreman-Job-Id" in response.headers["Access-Control-Expose-Headers"]


def test_the_queue_lists_its_jobs_in_the_order_in_which_they_would_run(fresh: Fresh) -> None:
    api = fresh(give_way=False)
    running = api.submit("#silent")
    api.until_state("working", running)
    last, first, second = api.submit("x", "b"), api.submit("x", "b", priority="high"), api.submit("x", "a")
    parked = [api.submit("x", not_before=f"209{n}-01-01T00:00:00Z") for n in (3, 1, 2)]
    told = api.http.get("/queue/jobs").json()
    assert [job["job_id"] for job in told["scheduled"]] == [parked[1], parked[2], parked[0]]
    assert {(job["queue_position"], job["eta_seconds"]) for job in told["scheduled"]} == {(None, None)}
    shown = told["jobs"]
    assert [(job["job_id"], job["queue_position"]) for job in shown] == [(first, 1), (last, 2), (second, 3)]
    assert [api.job(job["job_id"])["queue_position"] for job in shown] == [1, 2, 3]
    assert [job["job_id"] for job in api.http.get("/queue/jobs?limit=1").json()["jobs"]] == [first]
    refused = api.http.get("/queue/jobs?limit=0")
    assert (refused.status_code, refused.json()["code"]) == (422, "field_invalid")


def test_what_one_caller_has_submitted_only_that_one_or_an_admin_changes(fresh: Fresh) -> None:
    api = fresh(token="alice:one,bob:two,plain", admin_token="boss")
    alice, bob, plain, boss = ({"Authorization": f"Bearer {token}"} for token in ("alice:one", "two", "plain", "boss"))
    with httpx2.Client(base_url=api.daemon.url, trust_env=False) as http:

        def submit(who: dict[str, str], text: str = "hello", **fields: str) -> str:
            payload = {"model": "a", "messages": [{"role": "user", "content": text}], **fields}
            return str(http.post("/jobs", json=payload, headers=who).json()["job_id"])

        parked = submit(alice, not_before="2090-01-01T00:00:00Z")
        for headers in (alice, bob, plain, boss):
            assert http.get(f"/jobs/{parked}", headers=headers).json()["owner"] == "alice"
        for method, path in (
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("DELETE", ""),
            ("POST", "/deliveries/1/redeliver"),
        ):
            for headers in (bob, plain):
                refused = http.request(method, f"/jobs/{parked}{path}", headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (403, "admin_required"), path
        assert http.post(f"/jobs/{parked}/cancel", headers=alice).status_code == 200
        assert http.post(f"/jobs/{parked}/retry", headers=boss).status_code == 200
        until(lambda: http.get(f"/jobs/{parked}", headers=boss).json()["state"] == "done")
        deleted = http.delete(f"/jobs/{parked}", headers=alice)
        assert deleted.status_code == 204 and "Content-Type" not in deleted.headers
        line = b'{"model": "a", "messages": [], "not_before": "2090-01-01T00:00:00Z"}'
        many = http.post("/jobs", content=line, headers=bob | {"Content-Type": "application/x-ndjson"}).json()["jobs"]
        called = http.post(
            "/api/chat", json={"model": "a", "messages": [{"role": "user", "content": "x"}]}, headers=bob
        )
        for job_id in (many[0]["job_id"], called.headers["X-Foreman-Job-Id"]):
            assert http.get(f"/jobs/{job_id}", headers=boss).json()["owner"] == "bob"
        assert http.get(f"/jobs/{submit(boss)}", headers=boss).json()["owner"] == "admin"
        assert http.get(f"/jobs/{submit(plain)}", headers=boss).json()["owner"] is None


def test_a_second_foreman_on_the_same_data_is_refused_in_one_line(fresh: Fresh) -> None:
    api = fresh()
    second = Daemon(api.daemon.data_dir, ollama_url=api.upstream.url).start(ready=False)
    assert second.wait() != 0
    text = "\n".join(second.child.lines)
    second.close()
    assert "another foreman is using" in text
    assert "Traceback" not in text


def test_what_waits_for_a_time_has_no_position_and_no_estimate(api: Api) -> None:
    api.ended(api.submit("so that something is known"))
    accepted = api.post("x", not_before="2090-01-01T00:00:00Z").json()
    job = api.job(accepted["job_id"])
    assert (accepted["queue_position"], job["queue_position"], job["eta_seconds"]) == (None, None, None)
    api.http.post(f"/jobs/{job['job_id']}/cancel")


def test_estimates_are_by_model_and_the_same_everywhere(fresh: Fresh) -> None:
    api = fresh()
    api.ended(api.submit("quick", "a"))
    api.ended(api.submit("slow #slow=1", "b"))
    running = api.submit("#silent", "b")
    api.until_state("working", running)
    slow, quick, new = api.submit("x", "b"), api.submit("x", "a"), api.submit("x", "c", priority="low")
    assert [api.job(job_id)["queue_position"] for job_id in (slow, quick, new)] == [1, 2, 3]
    assert [job["queue_position"] for job in api.http.get("/queue/jobs").json()["jobs"]] == [1, 2, 3]

    def told() -> list[float]:
        """What both say, once what runs has taken as long as was expected: until then time goes by between them."""
        *each, unknown = (api.job(job_id)["eta_seconds"] for job_id in (slow, quick, new))
        *listed, last = (job["eta_seconds"] for job in api.http.get("/queue/jobs").json()["jobs"])
        assert unknown is last is None
        return each if each == pytest.approx(listed, abs=0.01) else []

    first, second = until(told)
    assert first >= 1
    assert 0 <= second - first < 0.9
    api.http.post("/queue/pause")
    assert [api.job(job_id)["eta_seconds"] for job_id in (slow, quick)] == [None, None]
    assert [job["eta_seconds"] for job in api.http.get("/queue/jobs").json()["jobs"]] == [None] * 3


def test_a_retry_needs_room_in_the_queue(fresh: Fresh) -> None:
    api = fresh(max_queue=1)
    api.http.post("/queue/pause")
    ended = api.submit("x")
    api.http.post(f"/jobs/{ended}/cancel")
    waiting = api.submit("y")
    refused = api.http.post(f"/jobs/{ended}/retry")
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert refused.headers["retry-after"]
    assert (api.job(ended)["state"], api.http.get("/queue").json()["queued"]) == ("cancelled", 1)
    api.http.post(f"/jobs/{waiting}/cancel")
    assert api.http.post(f"/jobs/{ended}/retry").json()["state"] == "queued"
