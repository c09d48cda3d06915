"""Tickets: what browsers open without headers, for the caller that asked for one, once and not for long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import trio

from foreman.domain.caller import Caller
from foreman.http.tickets import LIFE, MOST, OF_ONE_CALLER, Tickets
from tests.e2e.feed.conftest import Closed, joined
from tests.http.conftest import Api
from tests.support.api import chat
from tests.support.foreman import Daemon, an_upstream, until

NOW = 1000.0
SETTINGS: dict[str, Any] = {
    "token": "alice:one,bob:two",
    "admin_token": "boss",
    "private_jobs": True,
    "log_level": "debug",
    "shutdown_grace": 0,
}
SSE = {"Accept": "text/event-stream"}


class Two:
    """A Foreman with private jobs, and what alice, bob and the admin do there."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.http = httpx2.Client(base_url=daemon.url, trust_env=False, timeout=30)

    def ticket(self, bearer: str) -> str:
        answer = self.http.post("/tickets", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["expires_in"], answer.headers["Cache-Control"]) == (60, "no-store")
        return str(answer.json()["ticket"])

    def done(self, bearer: str, text: str = "x") -> str:
        headers = {"Authorization": f"Bearer {bearer}"}
        job_id = str(self.http.post("/jobs", json=chat(text), headers=headers).json()["job_id"])
        until(lambda: self.http.get(f"/jobs/{job_id}", headers=headers).json()["state"] == "done")
        return job_id

    def told(self, ticket: str, last: str) -> list[str]:
        """The jobs of which the feed tells, until the last one is done."""
        found: list[str] = []
        with self.http.stream("GET", f"/events?after=0&ticket={ticket}", headers=SSE) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                event = json.loads(line[6:]) if line.startswith("data: ") else {}
                found += [event["job_id"]] if "job_id" in event else []
                if (event.get("job_id"), event.get("state")) == (last, "done"):
                    return found
        raise AssertionError(found)

    async def told_over_websocket(self, query: str, count: int) -> list[str]:
        async with joined(self.daemon, f"?after=0&{query}") as feed:
            return [message["job_id"] for message in (await feed.take(count + 1))[1:]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("tickets") / "data"
    with an_upstream("--kind", "ollama") as upstream, Daemon(folder, ollama_url=upstream.url, **SETTINGS) as daemon:
        found = Two(daemon)
        yield found
        found.http.close()
        assert daemon.errors == []


def test_a_ticket_opens_what_its_caller_may_read(two: Two) -> None:
    his, hers = two.done("two"), two.done("one")
    for rest in ("stream", "artifacts/completion"):
        for bearer, statuses in (("one", [200, 404]), ("two", [404, 200]), ("boss", [200, 200])):
            told = [two.http.get(f"/jobs/{job}/{rest}?ticket={two.ticket(bearer)}").status_code for job in (hers, his)]
            assert told == statuses, (rest, bearer)
    alices, every = (set(two.told(two.ticket(bearer), hers)) for bearer in ("one", "boss"))
    assert (hers in alices, his in alices, {his, hers} <= every) == (True, False, True)
    both = f"job_id={his}&job_id={hers}&ticket={two.ticket('one')}"
    assert trio.run(two.told_over_websocket, both, 4) == [hers] * 4


def test_a_ticket_downloads_a_file_of_its_callers(two: Two) -> None:
    ones = {"Authorization": "Bearer one"}
    given = {"file": ("lines.jsonl", b"{}\n")}
    file = two.http.post("/v1/files", files=given, data={"purpose": "batch"}, headers=ones).json()["id"]
    assert two.http.get(f"/v1/files/{file}/content?ticket={two.ticket('one')}").content == b"{}\n"
    assert two.http.get(f"/v1/files/{file}/content?ticket={two.ticket('two')}").status_code == 404
    for path in (f"/v1/files/{file}", "/v1/files"):
        assert two.http.get(f"{path}?ticket={two.ticket('one')}").status_code == 401


def test_a_ticket_is_good_once(two: Two) -> None:
    hers = two.done("one")
    ticket = two.ticket("one")
    address = f"/jobs/{hers}/artifacts/completion?ticket={ticket}"
    assert two.http.get(address).status_code == 200
    again = two.http.get(address)
    assert (again.status_code, again.json()["code"]) == (401, "unauthorized")
    assert ticket not in again.text
    with pytest.raises(Closed) as refusal:
        trio.run(two.told_over_websocket, f"ticket={ticket}", 1)
    assert refusal.value.code == 401


def test_a_ticket_opens_nothing_else_and_changes_nothing(two: Two) -> None:
    hers = two.done("one")
    ticket = two.ticket("one")
    for method, path in (
        *(("GET", path) for path in ("/jobs", f"/jobs/{hers}", f"/jobs/{hers}/request", "/queue", "/usage")),
        *(("POST", path) for path in ("/jobs", f"/jobs/{hers}/retry", "/tickets", "/api/chat", "/events")),
        *(("HEAD", path) for path in (f"/jobs/{hers}/stream", f"/jobs/{hers}/artifacts/completion")),
        *((method, f"/jobs/{hers}{rest}") for method, rest in (("DELETE", ""), ("POST", "/stream"))),
        ("GET", f"/jobs/{hers}/deliveries"),
        ("GET", "/nowhere"),
    ):
        assert two.http.request(method, f"{path}?ticket={ticket}").status_code == 401, (method, path)
    both = two.http.get(f"/jobs/{hers}/stream?ticket={ticket}", headers={"Authorization": "Bearer wrong"})
    assert both.status_code == 401
    assert two.http.get(f"/jobs/{hers}/stream?ticket={ticket}").status_code == 200  # it was not spent on those
    for wrong in ("", "x", ticket[:-1], "%00", "%ff", "a" * 1000):
        assert two.http.get(f"/jobs/{hers}/stream?ticket={wrong}").status_code == 401, wrong


def test_a_ticket_does_not_outlive_the_process_and_is_never_logged(two: Two) -> None:
    hers = two.done("one")
    used, kept = two.ticket("one"), two.ticket("one")
    assert [two.http.get(f"/jobs/{hers}/stream?ticket={used}").status_code for _ in range(2)] == [200, 401]
    assert two.http.get(f"/events?after=no&ticket={kept}", headers=SSE).status_code == 400
    kept = two.ticket("one")
    daemon = two.daemon
    daemon.terminate()
    daemon.wait()
    assert [line for line in daemon.child.lines if used in line or kept in line] == []
    two.http.close()
    two.http = httpx2.Client(base_url=daemon.start().url, trust_env=False, timeout=30)
    assert two.http.get(f"/jobs/{hers}/stream?ticket={kept}").status_code == 401


def test_where_no_token_is_wanted_a_ticket_is_no_hindrance(api: Api) -> None:
    job_id = api.submit("x")
    api.ended(job_id)
    ticket = api.http.post("/tickets").json()["ticket"]
    for sent in (ticket, ticket, "unknown"):
        assert api.http.get(f"/jobs/{job_id}/stream?ticket={sent}").status_code == 200


def test_a_ticket_is_good_for_so_long() -> None:
    tickets, alice = Tickets(), Caller("alice")
    early, late = tickets.issue(alice, NOW), tickets.issue(alice, NOW)
    assert len(early) >= 43 and early != late  # 256 bits in base 64
    assert tickets.take(early, NOW + LIFE - 0.001) == alice
    assert tickets.take(late, NOW + LIFE) is None
    tickets.issue(alice, NOW)
    tickets.issue(alice, NOW + LIFE)
    assert len(tickets) == 1


def test_a_bounded_number_of_tickets_is_kept() -> None:
    tickets, alice, bob = Tickets(), Caller("alice"), Caller("bob")
    his = tickets.issue(bob, NOW)
    hers = [tickets.issue(alice, NOW) for _ in range(OF_ONE_CALLER + 1)]
    assert len(tickets) == OF_ONE_CALLER + 1
    assert [tickets.take(ticket, NOW) for ticket in (hers[0], hers[1], hers[-1], his)] == [None, alice, alice, bob]
    for number in range(MOST // OF_ONE_CALLER + 2):
        for _ in range(OF_ONE_CALLER):
            tickets.issue(Caller(f"{number}"), NOW)
    assert len(tickets) == MOST
