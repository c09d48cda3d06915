"""What nobody may read: secrets anywhere, prompts and answers in the log."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress

import httpx2

from tests.http.conftest import Api
from tests.support.api import NDJSON, deliveries
from tests.support.foreman import managed, until
from tests.support.receiver import SECRET, a_receiver

Fresh = Callable[..., Api]

TOKEN, ADMIN, TARGET, CLIENT, HOOK = "tok-f00d", "adm-f00d", "tgt-f00d", "sk-f00d", "hook-f00d"
SECRETS = [TOKEN, ADMIN, TARGET, CLIENT, HOOK, SECRET, SECRET.removeprefix("whsec_")]
PROMPT = "marmalade"
ANSWER = "w0 w1 w2"
SHOWN = ("/queue", "/healthz", "/readyz", "/metrics", "/jobs", "/nowhere", "/jobs?state=x", "/v1/models/x", "/api/ps")


def found_in(text: str, *words: str) -> list[str]:
    return [word for word in words if word in text]


def settings() -> dict[str, object]:
    return {
        "log_level": "debug",
        "token": f"alice:{TOKEN}",
        "admin_token": ADMIN,
        "webhook_secret": SECRET,
        "webhook_retries": 1,
        "webhook_backoff": 0.05,
    }


def garbled(api: Api) -> None:
    """Requests that break HTTP itself, with words that a log could quote."""
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    )
    upgrade = (
        f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    host, _, port = api.daemon.url.removeprefix("http://").partition(":")
    for text in (
        f"{head}Transfer-Encoding: chunked\r\n\r\n{PROMPT}\r\n",
        f"{head}Content-Length: 5\r\nX-Odd {CLIENT} {PROMPT}\r\n\r\n",
        f"{head}Content-Length: 4{CLIENT}\r\n\r\n",
        f"{upgrade}{PROMPT} {CLIENT}\r\n\r\n" * 2,
        f"GET /{PROMPT}\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=60) as raw, suppress(ConnectionError):
            raw.sendall(text.encode("latin-1"))
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass


def test_no_secret_is_shown_and_no_prompt_logged_whatever_goes_wrong(fresh: Fresh) -> None:
    api = fresh(ollama_token=TARGET, **settings())
    said: list[str] = []
    with api.daemon.client() as http, a_receiver("500") as receiver:

        def keep(answer: httpx2.Response) -> None:
            said.append(answer.read().decode())

        http.event_hooks["response"].append(keep)
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        hook = f"{receiver.url}?key={HOOK}"

        def submit(directives: str, **fields: object) -> str:
            message = {"role": "user", "content": f"{PROMPT} {directives}"}
            asked = {"model": "a", "messages": [message], "state_webhook_url": hook, **fields}
            return str(http.post("/jobs", json=asked).json()["job_id"])

        jobs = [
            submit(told) for told in ("", "#break=1", "#break=9", "#status=400", "#status=500", "#error", "#garbage")
        ]
        until(lambda: all(http.get(f"/jobs/{job}").json()["completed_at"] for job in jobs))
        states = [http.get(f"/jobs/{job}").json()["state"] for job in jobs]
        assert states == ["done", "done", *["failed"] * 5]
        until(lambda: all(one["state"] == "dead" for job in jobs for one in deliveries(api.daemon, job)))
        # Of another model: this one rests after so many failures.
        receiver_gone = submit("", model="b", state_webhook_url=f"http://127.0.0.1:9/?key={HOOK}")
        until(lambda: all(one["state"] == "dead" for one in deliveries(api.daemon, receiver_gone)))
        said.clear()  # an answer is its caller's to read
        for url in (f"http://u:{HOOK}@127.0.0.1/", f"ftp://x/?key={HOOK}", f"http://10.0.0.1/?key={HOOK}"):
            submitted = {"model": "a", "state_webhook_url": url}
            assert http.post("/jobs", json=submitted).status_code == 422
            assert http.post("/jobs", content=json.dumps(submitted), headers=NDJSON).status_code == 422
        for body in (f'{{"model":"a","messages":"{PROMPT}', f'{{"model":"{PROMPT}\\ud8"}}', f'"{PROMPT}"'):
            for path in ("/jobs", "/api/chat", "/v1/messages"):
                assert http.post(path, content=body, headers={"Content-Type": "application/json"}).status_code == 400
        assert http.post("/queue/pause").json()["code"] == "admin_required"
        for path in SHOWN:
            http.get(path)
        for header in (f"Bearer {CLIENT}", f"Basic {CLIENT}", CLIENT):
            stranger = httpx2.get(f"{api.daemon.url}/jobs", headers={"Authorization": header}, trust_env=False)
            assert stranger.status_code == 401
            said.append(stranger.text)
    garbled(api)
    assert len(said) > 20
    assert found_in("\n".join(said), *SECRETS) == []
    events = {line["event"] for line in api.daemon.logs}
    assert events >= {"attempt ended", "webhook", "foreman serves"}
    log = "\n".join(api.daemon.child.lines)
    assert found_in(log, *SECRETS, PROMPT, ANSWER) == []


def test_what_a_child_said_before_it_crashed_is_in_the_jobs_fault_and_not_in_the_log(fresh: Fresh) -> None:
    api = fresh(models=managed("a"), openai_token=TARGET, **settings())
    api.daemon.http.headers["Authorization"] = f"Bearer {TOKEN}"
    job = api.ended(api.submit(f"{PROMPT} #die", max_attempts=1))
    assert (job["state"], job["error_code"]) == ("failed", "model_crashed")
    assert PROMPT in job["error"]
    api.ended(api.submit(f"{PROMPT} again"))
    log = "\n".join(api.daemon.child.lines)
    assert "attempt ended" in log
    assert found_in(log, *SECRETS, PROMPT, ANSWER) == []
