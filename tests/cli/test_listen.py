"""Webhooks on the command line: a real Foreman posts to a real `foreman listen`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import msgspec
import pytest

from foreman.client import Client, Delivery
from tests.cli.conftest import SECRET, App

STATES = ["queued", "loading", "working", "done"]


@contextmanager
def listening(app: App, *words: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A listener and its URL; it has ended well, and without a word of complaint, when this ends."""
    with app.begin("listen", "--port", "0", *words, **env) as listener:
        assert listener.stderr is not None
        greeting = listener.stderr.readline()
        found = re.fullmatch(r"Listening at (http://127\.0\.0\.1:\d+/) until Ctrl-C\. In another terminal:\n", greeting)
        assert found, greeting
        assert f'submit --webhook {found[1]} "Say hello."' in listener.stderr.readline()
        try:
            yield listener, found[1]
            listener.send_signal(signal.SIGINT)
            assert listener.wait(60) == 0
            assert "Traceback" not in listener.stderr.read()
        finally:
            listener.kill()


def lines(listener: subprocess.Popen[str], count: int) -> list[str]:
    assert listener.stdout is not None
    return [listener.stdout.readline() for _ in range(count)]


def test_each_change_of_a_job_arrives_and_its_signature_is_good(app: App) -> None:
    with listening(app, "--json", FOREMAN_WEBHOOK_SECRET=f"another,{SECRET}") as (listener, url):
        job_id = app.run("submit", "-m", "a", "--no-wait", "--webhook", url, "hi").stdout.strip()
        told = [msgspec.json.decode(line) for line in lines(listener, 4)]
    assert [one["payload"]["state"] for one in told] == STATES
    assert {one["payload"]["job_id"] for one in told} == {job_id}
    assert {(one["signature"], one["signature_error"], one["again"]) for one in told} == {("good", None, False)}


def test_a_person_sees_state_job_attempt_and_signature(app: App) -> None:
    with listening(app, "--secret", "another") as (listener, url):
        job_id = app.run("submit", "-m", "a", "--no-wait", "--webhook", url, "hi").stdout.strip()
        *_, done = lines(listener, 4)
        httpx2.post(url, content=b'{"state": "\\u001b[31mdone", "job_id": 1}')
        assert "signature missing" in (odd := lines(listener, 1)[0])
        httpx2.post(url, content=b"hello", headers={"X-Foreman-Signature": "sha256=0"})
        assert "5 bytes, not a webhook of Foreman  signature bad" in lines(listener, 1)[0]
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d  done       {job_id}  attempt 1  signature bad: no webhook-signature matches *\n", done
    )
    assert "\x1b" not in odd


def test_without_a_secret_signatures_are_not_checked(app: App) -> None:
    with listening(app) as (listener, url):
        app.run("submit", "-m", "a", "--webhook", url, "hi")
        assert all("signature not checked" in line for line in lines(listener, 4))


def test_a_dead_delivery_is_listed_and_sent_again(app: App) -> None:
    with listening(app, "--status", "500", "--json") as (listener, url), app.client() as client:
        job_id = client.submit("a", "hi", state_webhook_url=url, webhook_events=["done"]).job_id
        first = msgspec.json.decode(lines(listener, 1)[0])
        dead = ended(client, job_id)
        assert (dead.state, dead.status, dead.attempts) == ("dead", 500, 1)
        shown = app.run("deliveries", job_id)
        assert re.search(rf"^{dead.delivery_id} +done +dead +1 +500 +\S+ \S+ +{url} ", shown.stdout, re.MULTILINE)
        raw = msgspec.json.decode(app.run("deliveries", "--json", job_id).stdout)
        assert [delivery["state"] for delivery in raw["deliveries"]] == ["dead"]
        again = app.run("redeliver", job_id, dead.delivery_id)
        assert (again.returncode, again.stdout) == (0, f"delivery {dead.delivery_id} is due again\n")
        second = msgspec.json.decode(lines(listener, 1)[0])
        assert (second["webhook_id"], second["again"]) == (first["webhook_id"], True)
        unknown = app.run("redeliver", job_id, "999999")
        assert (unknown.returncode, unknown.stderr) == (4, f"foreman: delivery not found: 999999 of job {job_id}\n")


def test_a_job_without_webhooks_has_no_deliveries(app: App) -> None:
    job_id = app.run("submit", "-m", "a", "--no-wait", "hi").stdout.strip()
    done = app.run("deliveries", job_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no deliveries\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n", 413),
    ],
)
def test_what_is_no_webhook_is_refused(app: App, head: bytes, status: int) -> None:
    with listening(app) as (_, url), socket.create_connection(("127.0.0.1", int(url[17:-1]))) as sender:
        sender.sendall(head)
        assert sender.recv(100).split()[1] == b"%d" % status


def test_a_port_that_is_taken_is_one_line(app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = app.run("listen", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    said = f"foreman: cannot listen on 127.0.0.1:{port}: Address already in use: give another --port\n"
    assert done.stderr == said


def ended(client: Client, job_id: str) -> Delivery:
    deadline = time.monotonic() + 60
    while (delivery := client.deliveries(job_id)[0]).state == "due":
        assert time.monotonic() < deadline
    return delivery


def test_nobody_without_the_secret_ends_it_or_speaks_for_foreman(app: App) -> None:
    forged = b'{"state": "done\\n12:00:00  done  J1  attempt 1  signature good\\u202e\\ud800", "error": "a\\nb"}'
    with listening(app, FOREMAN_WEBHOOK_SECRET=SECRET) as (listener, url):
        for stamp in ("9" * 400, "9" * 5000):
            httpx2.post(url, content=forged, headers={"webhook-signature": "v1,x", "webhook-timestamp": stamp})
        told = lines(listener, 2)
    assert all("signature bad" in line and "attempt None" in line for line in told)
    assert not {"\u202e", "\ud800"} & set("".join(told))


def test_json_is_told_of_what_is_no_text(app: App) -> None:
    with listening(app, "--json") as (listener, url):
        httpx2.post(url, content=b'{"state": "\\ud800"}')
        assert lines(listener, 1)[0].isascii()
