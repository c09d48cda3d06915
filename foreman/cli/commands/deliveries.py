"""`foreman deliveries` and `foreman redeliver`: the webhooks of a job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
import msgspec
from rich.text import Text

from foreman.cli.commands.shell_completion import any_job
from foreman.cli.console import show_table, state_text
from foreman.cli.exit_codes import epilog
from foreman.cli.ids import id_of, with_job
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Client, Delivery, NotFound, requests
from foreman.client.reading import decode

STYLES = {"due": "yellow", "delivered": "green", "dead": "red", "stopped": "magenta"}


@click.command(epilog=epilog("foreman deliveries 01M851ES4ND9PVJWPF0KQPVXTA"), short_help="List the webhooks of a job.")
@click.argument("job_id", metavar="ID", shell_complete=any_job)
@click.option("--json", "as_json", is_flag=True, help='Print {"deliveries": […]}.')
@quiet()
@reaches_foreman
def deliveries(job_id: str, as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the webhooks of a job, oldest first, each with its event and outcome.

    EVENT is the state that the webhook reports, ANSWER the HTTP status of the last attempt. WHEN is the next attempt of
    a webhook that is due, the end of any other.
    """
    with Client(url, token) as client:
        job_id = id_of(client, job_id)
        found = _all(client, job_id)
        if as_json:
            print_json(msgspec.json.encode({"deliveries": found}))
            return
        rows = [decode(bytes(one), Delivery) for one in found]
        if quiet:
            print_ids(delivery.delivery_id for delivery in rows)
            return
        events = {event.seq: event.state for event in client.events(job_id)}
    if not rows:
        click.echo("no deliveries", err=True)
        return
    show_table(
        ("DELIVERY", "EVENT", "STATE", "ATTEMPTS", "ANSWER", "WHEN", "URL", "ERROR"),
        (_row(delivery, events.get(delivery.seq, "")) for delivery in rows),
        spare=("WHEN", "ATTEMPTS", "URL", "EVENT"),
    )


@click.command(
    epilog=epilog("foreman redeliver 01M851ES4ND9PVJWPF0KQPVXTA 42"), short_help="Send a webhook of a job again."
)
@click.argument("job_id", metavar="ID", shell_complete=any_job)
@click.argument("delivery_id", metavar="DELIVERY")
@click.option("--json", "as_json", is_flag=True, help="Print the delivery as JSON.")
@reaches_foreman
def redeliver(job_id: str, delivery_id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Send a webhook of a job again, in any state, with all its retries.

    'foreman deliveries ID' lists the webhooks, and shows the outcome afterwards.
    """
    with Client(url, token) as client:
        try:
            raw = with_job(client, job_id, lambda found: client.raw(requests.redeliver(found, delivery_id)))
        except NotFound as error:
            if error.code == "delivery_not_found":
                error.message = f"delivery not found: {delivery_id} of job {job_id}"
            raise
    if as_json:
        print_json(raw)
        return
    delivery = decode(raw, Delivery)
    click.echo(one_line(f"delivery {delivery.delivery_id} is {delivery.state} again"))


class _Page(msgspec.Struct):
    deliveries: list[msgspec.Raw]
    next: int | None = None


def _all(client: Client, job_id: str) -> list[msgspec.Raw]:
    """Return all deliveries of the job as raw JSON, fetched page by page."""
    found: list[msgspec.Raw] = []
    after: int | None = 0
    while after is not None:
        page = decode(client.raw(requests.deliveries(job_id, after)), _Page)
        found += page.deliveries
        after = page.next if page.next is not None and page.next > after else None
    return found


def _row(delivery: Delivery, event: str) -> Sequence[str | Text]:
    due = delivery.state == "due"
    answer = str(delivery.status) if delivery.status is not None else ""
    return (
        delivery.delivery_id,
        state_text(event),
        Text(one_line(delivery.state), style=STYLES.get(delivery.state, "")),
        str(delivery.attempts),
        answer,
        _clock(delivery.due_at if due else delivery.ended_at),
        delivery.url,
        delivery.error or "",
    )


def _clock(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""
