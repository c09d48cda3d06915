"""A target that lists its models and answers no call of some of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from tests.faults.conftest import Break
from tests.support.api import state, submit
from tests.support.foreman import until

SICK = ("hangs", "drops", "fails")
NATIVE = {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True, "done_reason": "stop"}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}


class Sick(ThreadingHTTPServer):
    """Answers the calls of a model only if it is well, or has been healed."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StreamingCall)
        self.healed = Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class StreamingCall(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sick

    def do_GET(self) -> None:
        self._say(200, {"models": [{"name": name, "id": name} for name in (*SICK, "well")]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] == "well" or self.server.healed.is_set():
            self._say(200, NATIVE if self.path.startswith("/api/") else {"model": "m", "choices": [CHOICE]})
        elif asked["model"] == "fails":
            self._say(500, "out of order")
        else:
            self.close_connection = True
            if asked["model"] == "hangs":
                self.server.healed.wait(60)

    def _say(self, status: int, value: object) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def sick() -> Iterator[Sick]:
    server = Sick()
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.healed.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["ollama_url", "openai_url"])
def test_models_whose_calls_fail_rest_until_they_are_well(serve: Break, sick: Sick, kind: str) -> None:
    urls = {"ollama_url": "", kind: sick.url}
    daemon = serve("quick", **urls, first_chunk_timeout=0.1, load_timeout=0.1)
    jobs = {model: [submit(daemon, model=model) for _ in range(5)] for model in SICK}

    def queue() -> dict[str, str]:
        shown = daemon.http.get("/queue").json()["failing_models"]
        return {one["model"]: one["error_code"] for one in shown}

    until(lambda: set(queue()) == set(SICK))
    codes = queue()
    assert codes["hangs"] == ("load_timeout" if kind == "ollama_url" else "target_silent")
    assert codes["drops"] == "target_lost" and codes["fails"] == "target_failed"
    well = submit(daemon, model="well")
    until(lambda: state(daemon, well) == "done")
    health = daemon.http.get("/healthz").json()
    assert health["degraded"] and "each call of 3 models" in health["target_error"]
    name = kind.removesuffix("_url")
    assert {one["target"] for one in daemon.http.get("/queue").json()["failing_models"]} == {name}
    assert f'foreman_model_failing{{model="hangs",target="{name}"}} 1.0' in daemon.http.get("/metrics").text
    spent: Counter[str] = Counter()
    for one in daemon.http.get("/jobs?limit=50").json()["jobs"]:
        spent[one["model"]] += one["attempt"]
    assert spent.pop("well") == 1 and max(spent.values()) <= 4  # three, and a try that runs
    sick.healed.set()
    until(lambda: {state(daemon, one) for ids in jobs.values() for one in ids} == {"done"})
    assert queue() == {}
    assert not daemon.http.get("/healthz").json()["degraded"]
    assert not daemon.errors
