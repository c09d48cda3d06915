"""Where a webhook may go: judged at submission, and again on the very address that is connected to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from foreman.actors.webhook_sender import Content, WebhookSender
from foreman.domain.errors import Shortage, WebhookRefused
from foreman.domain.job import Delivery, DeliveryState
from foreman.domain.webhooks.addresses import AddressRules, read_url
from tests.support.api import chat
from tests.support.foreman import Daemon, Upstream
from tests.support.receiver import a_receiver

PUBLIC = "93.184.216.34"
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "::10.0.0.1",
    "::ffff:0:10.0.0.1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "100.100.100.200",
]
PRIVATE = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fec0::1"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1"]
FORMS = ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "0x7f000001", "1.2.3.4.", "127.0.0.0x1"]
WRONG = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/",
    "example.com/hook",
    "",
    "http://",
    "http:///hook",
    "http://user@example.com/",
    "http://user:word@example.com/",
    "http://:@example.com/",
    "http://example.com/a b",
    "http://example.com/\r\nX-Evil: 1",
    "http://exa\tmple.com/",
    "http://example.com/\x7f",
    "\x01http://example.com/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:x/",
    "http://[::1/",
    "http://[1.2.3.4]/",
    *(f"http://{host}/" for host in FORMS),
]


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_refused_whatever_is_allowed(address: str) -> None:
    rules = AddressRules.read(["0.0.0.0/0", "::/0", "name"], loopback=True)
    assert "webhook_allow" in (rules.refusal(ip_address(address), name="name") or "")


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK)
def test_private_addresses_take_a_setting(address: str) -> None:
    assert "webhook_allow" in (AddressRules().refusal(ip_address(address)) or "")
    assert AddressRules.read([address], loopback=False).refusal(ip_address(address)) is None
    assert (
        AddressRules.read(["Inside.Example"], loopback=False).refusal(ip_address(address), name="inside.example")
        is None
    )
    assert (AddressRules(loopback=True).refusal(ip_address(address)) is None) == (address in LOOPBACK)


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_public_addresses_are_free(address: str) -> None:
    assert AddressRules().refusal(ip_address(address)) is None


@pytest.mark.parametrize("url", WRONG)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        read_url(url)


class Names:
    """A resolver whose answers are given, one a question; the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int, *, type: int) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(None, None, None, "", (address, port)) for address in found]


def sender(
    *answers: Sequence[str], rules: AddressRules | None = None, timeout: float = 10
) -> tuple[WebhookSender, Names]:
    names = Names(*answers)
    return WebhookSender(rules or AddressRules(), secrets=[], timeout=timeout, clock=lambda: 1e9, resolve=names), names


def delivery(url: str) -> Delivery:
    state = DeliveryState.DUE
    return Delivery(seq=1, job_id="j", receiver="r", url=url, state=state, attempts=0, due_at=0)


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    judge, _ = sender([PUBLIC, "10.0.0.1"])
    with pytest.raises(WebhookRefused, match=r"10\.0\.0\.1 is not a public address; the setting webhook_allow"):
        await judge.check("http://inside.example/hook")


async def test_a_name_that_changes_its_mind_is_refused_at_connection() -> None:
    with a_receiver() as receiver:
        judge, names = sender([PUBLIC], ["127.0.0.1"])
        url = f"http://rebinding.example:{receiver.port}/hook"
        await judge.check(url)
        sent = await judge.post(delivery(url), Content(b"{}"))
    assert sent.status is None
    assert "127.0.0.1 is not a public address" in (sent.error or "")
    assert (receiver.got, names.asked) == ([], 2)


async def test_the_connection_is_made_to_the_very_address_that_was_judged() -> None:
    with a_receiver() as receiver:
        judge, names = sender(["127.0.0.1"], rules=AddressRules(loopback=True))
        sent = await judge.post(delivery(f"http://Only.Here.Invalid:{receiver.port}/hook?a=%20b"), Content(b"{}"))
        await judge.aclose()
    assert (sent.status, names.asked) == (204, 1)
    assert receiver.got[0].headers["host"] == f"only.here.invalid:{receiver.port}"
    assert receiver.got[0].path == "/hook?a=%20b"


async def test_a_redirect_is_not_followed() -> None:
    with a_receiver("redirect") as receiver:
        judge, _ = sender(["127.0.0.1"], rules=AddressRules(loopback=True))
        sent = await judge.post(delivery(receiver.url), Content(b"{}"))
        await judge.aclose()
    assert sent.status == 307
    assert [got.path for got in receiver.got] == ["/hook"]


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "xn--", "ü.example", "\u2024", "a_b", "%00", "\ud800", "💥"])
async def test_no_odd_name_is_more_than_a_refusal(host: str) -> None:
    async def unknown(host: str, port: int, *, type: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    judge = WebhookSender(AddressRules(), secrets=["s"], timeout=10, clock=lambda: 1e9, resolve=unknown)
    with pytest.raises(WebhookRefused):
        await judge.check(f"http://{host}/")
    sent = await judge.post(delivery(f"http://{host}/"), Content(b"{}"))
    assert (sent.status, bool(sent.error)) == (None, True)


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_SYSTEM, "System error"), RuntimeError("can't start new thread")]
)
async def test_a_shortage_refuses_no_receiver_and_fails_no_more_than_an_attempt(error: Exception) -> None:
    async def short(host: str, port: int, *, type: int) -> Any:
        raise error

    judge = WebhookSender(AddressRules(), secrets=["s"], timeout=10, clock=lambda: 1e9, resolve=short)
    with pytest.raises((Shortage, RuntimeError)):
        await judge.check("http://receiver.example/")
    sent = await judge.post(delivery("http://receiver.example/"), Content(b"{}"))
    assert (sent.status, bool(sent.error)) == (None, True)


REFUSED = ["http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://0x7f.1/", "http://[::]/"]


def test_loopback_is_allowed_only_where_foreman_listens_on_loopback_only(
    daemon: Daemon, upstream: Upstream, tmp_path: Path
) -> None:
    job = chat(state_webhook_url="http://127.0.0.1:9/", webhook_events=["failed"])
    assert daemon.http.post("/jobs", json=job).status_code == 202
    everywhere = Daemon(tmp_path / "data", ollama_url=upstream.url, addr="0.0.0.0:0", insecure=True)
    with everywhere as public:
        for url in ("http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/", *REFUSED):
            answer = public.http.post("/jobs", json=chat(state_webhook_url=url))
            assert (answer.status_code, answer.json()["code"]) == (422, "webhook_refused")
            assert "webhook_allow" in answer.json()["error"]
