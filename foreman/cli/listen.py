"""`foreman listen`: a small receiver on the loopback, for trying webhooks out."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from queue import Queue
from socketserver import ThreadingTCPServer
from typing import Any

import click
from rich.text import Text

from foreman.cli.codes import FAILED, epilog
from foreman.cli.screen import console, plain, state_text, this_program
from foreman.receiver import SignatureInvalid, verify_webhook
from foreman.signature import key_of

HOST = "127.0.0.1"  # and nothing else: whoever can reach it can make it print
PORT = 9000
MOST = 64 * 2**20  # bytes of a body; one with a 256 KiB answer inline is far smaller
PATIENCE = 10.0  # seconds for a sender to say what it has to say
WAITING = 1000  # webhooks that may wait to be printed
REMEMBERED = 10_000  # webhook ids, to tell which one came before


def _secrets(ctx: click.Context, param: click.Parameter, given: str | None) -> list[str]:
    secrets = [secret.strip() for secret in (given or "").split(",") if secret.strip()]
    for secret in secrets:
        try:
            key_of(secret)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return secrets


@click.command(
    epilog=epilog(
        "foreman listen", "FOREMAN_WEBHOOK_SECRET=whsec_… foreman listen --port 9001", "foreman listen --json"
    ),
    short_help="Receive webhooks here and print them.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="Where to listen on the loopback; 0 takes a free one.",
)
@click.option(
    "--secret",
    "secrets",
    envvar="FOREMAN_WEBHOOK_SECRET",
    show_envvar=True,
    callback=_secrets,
    metavar="SECRET",
    help="What Foreman signs with; several are separated by commas. Better in the environment.",
)
@click.option(
    "--status",
    type=click.IntRange(200, 599),
    default=204,
    show_default=True,
    metavar="CODE",
    help="What to answer: 500 shows how Foreman tries again, 410 how it stops.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each webhook.")
def listen(port: int, secrets: list[str], status: int, as_json: bool) -> None:
    """Receive webhooks on this machine and print each: its state, job, attempt, and whether its signature is good.

    Prints at the start where it listens and how to send a job's webhooks there. Ctrl-C ends it. Foreman posts to the
    loopback only if it listens on the loopback itself, or if its setting 'webhook_allow' says so.
    """
    inbox: Queue[_Received] = Queue(WAITING)
    try:
        server = _Server(port, status, inbox)
    except OSError as error:
        click.echo(f"foreman: cannot listen on {HOST}:{port}: {error.strerror}: give another --port", err=True)
        sys.exit(FAILED)
    printer = _Printer(secrets, as_json=as_json)
    try:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _greet(f"http://{HOST}:{server.server_address[1]}/", checked=bool(secrets))
        while True:
            printer.show(inbox.get())
    except KeyboardInterrupt:
        return


@dataclass(frozen=True, slots=True)
class _Received:
    headers: Mapping[str, str]  # their names in lower case
    body: bytes
    at: datetime


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, status: int, inbox: Queue[_Received]) -> None:
        super().__init__((HOST, port), _Handler)
        self.status = status
        self.inbox = inbox

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a sender that left in the middle is nobody's fault
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._answer(411)
        elif len(length) > 10 or int(length) > MOST:
            self._answer(413)
        elif len(body := self.rfile.read(int(length))) == int(length):
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.inbox.put(_Received(headers, body, datetime.now(UTC)))
            self._answer(self.server.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Printer:
    """Prints what arrives, on standard output."""

    def __init__(self, secrets: Sequence[str], *, as_json: bool) -> None:
        self._secrets = secrets
        self._as_json = as_json
        self._seen: deque[str] = deque(maxlen=REMEMBERED)

    def show(self, received: _Received) -> None:
        payload, (signature, why) = _payload(received.body), _judge(received, self._secrets)
        webhook_id = received.headers.get("webhook-id", "")
        again = bool(webhook_id) and webhook_id in self._seen
        self._seen.append(webhook_id)
        if self._as_json:
            shown = {
                "received_at": received.at.isoformat(),
                "signature": signature,
                "signature_error": why or None,
                "webhook_id": webhook_id or None,
                "again": again,
                "payload": payload,
            }
            click.echo(json.dumps(shown, ensure_ascii=False))
            return
        line = Text(f"{received.at.astimezone():%H:%M:%S}  ")
        if payload is None:
            line += Text(f"{len(received.body)} bytes that are no webhook of Foreman's")
        else:
            line += state_text(f"{payload.get('state')!s:<11}")
            line += Text(plain(f"{payload.get('job_id')}  attempt {payload.get('attempt')}"))
        style = {"good": "green", "bad": "red"}.get(signature, "dim")
        line += Text(f"  signature {signature}" + (f": {why}" if why else ""), style=style)
        if again:
            line += Text("  again", style="yellow")
        if payload and payload.get("error"):
            line += Text(f"  {plain(str(payload['error']))}")
        console().print(line)


def _payload(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _judge(received: _Received, secrets: Sequence[str]) -> tuple[str, str]:
    """`good`, `bad` and why, `missing`, or `not checked` where no secret is known."""
    if not {"webhook-signature", "x-foreman-signature"} & received.headers.keys():
        return "missing", ""
    why = ""
    for secret in secrets:
        try:
            verify_webhook(received.body, received.headers, secret)
            return "good", ""
        except SignatureInvalid as error:
            why = str(error)
        except (ValueError, RecursionError):  # well signed, but no JSON
            return "good", ""
    return ("bad", why) if secrets else ("not checked", "")


def _greet(url: str, *, checked: bool) -> None:
    click.echo(f"Listening at {url} until Ctrl-C. In another terminal:", err=True)
    click.echo(f'  {this_program()} submit --webhook {url} "Say hello."', err=True)
    if not checked:
        click.echo("Signatures are not checked: set FOREMAN_WEBHOOK_SECRET to what Foreman signs with.", err=True)
