"""`foreman listen`: a small receiver on the loopback, to try webhooks."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, Queue
from typing import Any

import click
from rich.text import Text

from foreman.cli.console import console, state_text
from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.plain import one_line, this_program
from foreman.cli.script_output import escaped
from foreman.domain.webhooks.signature import key_of
from foreman.receiver import LOOPBACK, Post, Received, judge

PORT = 9000  # on the loopback only: every sender that reaches it makes it print
HEARS = 0.5  # seconds; a Ctrl-C that comes just before a wait begins does not end it
WAITING = 1000  # webhooks that may wait to be printed
REMEMBERED = 10_000  # webhook ids, to find repeats


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
    short_help="Receive webhooks on this machine and print them.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--secret",
    "secrets",
    envvar="FOREMAN_WEBHOOK_SECRET",
    show_envvar=True,
    callback=_secrets,
    metavar="SECRET",
    help="Signing secrets of Foreman, separated by commas. Prefer the environment.",
)
@click.option(
    "--status",
    type=click.IntRange(200, 599),
    default=204,
    show_default=True,
    metavar="CODE",
    help="Status to answer: 500 makes Foreman try again, 410 stop.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"received_at", "signature", "signature_error", "webhook_id", "again", "payload"}, one object a line.',
)
def listen(port: int, secrets: list[str], status: int, as_json: bool) -> None:
    """Receive webhooks on this machine and print the state, job, attempt and signature check of each.

    The signature check is 'good', 'bad' (and why), 'missing', or 'not checked' without a secret; a repeated webhook is
    marked 'again'. At the start, prints its URL and a command that submits a job with webhooks to it. Ctrl-C ends it,
    with exit code 0. It listens on 127.0.0.1 only; Foreman sends there only if it listens on the loopback itself, or if
    its setting 'webhook_allow' allows it.
    """
    inbox: Queue[tuple[datetime, Received]] = Queue(WAITING)

    def take(received: Received) -> int:
        inbox.put((datetime.now(UTC), received))
        return status

    try:
        post = Post(LOOPBACK, port, take)
    except OSError as error:
        click.echo(f"foreman: cannot listen on {LOOPBACK}:{port}: {error.strerror}: give another --port", err=True)
        sys.exit(FAILED)
    printer = _Printer(secrets, as_json=as_json)
    try:
        post.start()
        _greet(post.url, checked=bool(secrets))
        while True:
            with suppress(Empty):
                printer.show(*inbox.get(timeout=HEARS))
    except KeyboardInterrupt:
        return


class _Printer:
    """Printer of received webhooks on standard output."""

    def __init__(self, secrets: Sequence[str], *, as_json: bool) -> None:
        self._secrets = secrets
        self._as_json = as_json
        self._seen: deque[str] = deque(maxlen=REMEMBERED)

    def show(self, at: datetime, received: Received) -> None:
        payload, (signature, why) = _payload(received.body), judge(received, self._secrets)
        webhook_id = received.id
        again = bool(webhook_id) and webhook_id in self._seen
        self._seen.append(webhook_id)
        if self._as_json:
            shown = {
                "received_at": at.isoformat(),
                "signature": signature,
                "signature_error": why or None,
                "webhook_id": webhook_id or None,
                "again": again,
                "payload": payload,
            }
            click.echo(escaped(json.dumps(shown)))
            return
        line = Text(f"{at.astimezone():%H:%M:%S}  ")
        if payload is None:
            line += Text(f"{len(received.body)} bytes, not a webhook of Foreman")
        else:
            line += state_text(f"{payload.get('state')!s:<11}")
            line += Text("  attempt ".join(one_line(str(payload.get(name))) for name in ("job_id", "attempt")))
        style = {"good": "green", "bad": "red"}.get(signature, "dim")
        line += Text(f"  signature {signature}" + (f": {why}" if why else ""), style=style)
        if again:
            line += Text("  again", style="yellow")
        if payload and payload.get("error"):
            line += Text(f"  {one_line(str(payload['error']))}")
        console().print(line)


def _payload(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _greet(url: str, *, checked: bool) -> None:
    click.echo(f"Listening at {url} until Ctrl-C. In another terminal:", err=True)
    click.echo(f'  {this_program()} submit --webhook {url} "Say hello."', err=True)
    if not checked:
        click.echo("Signatures are not checked: set FOREMAN_WEBHOOK_SECRET to the secret of Foreman.", err=True)
