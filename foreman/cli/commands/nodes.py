"""`foreman nodes`: the Foremen that share the queue."""

from __future__ import annotations

import click
from rich.text import Text

from foreman.cli.console import show_table, span
from foreman.cli.exit_codes import epilog
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.script_output import print_ids, print_json
from foreman.client import Client, Node, target_requests
from foreman.client.reading import decode
from foreman.domain.views import Nodes

STYLES = {"up": "green", "draining": "yellow", "gone": "red"}


@click.command(
    epilog=epilog("foreman nodes", "foreman nodes --json"), short_help="List the Foremen that share the queue."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer of GET /nodes.")
@quiet("Print only the names, one a line.")
@reaches_foreman
def nodes(as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """List the Foremen that share the queue, with their state, running jobs and loaded models.

    STATE is 'up', 'draining' before it leaves, or 'gone' once it has left or was silent for too long. SEEN is the time
    since it last wrote. The one with a * sends the webhooks. A Foreman with a queue of its own is the only one.
    """
    with Client(url, token) as client:
        answer = client.raw(target_requests.nodes())
    if as_json:
        print_json(answer)
        return
    found = decode(answer, Nodes).nodes
    if quiet:
        print_ids(one.name for one in found)
        return
    heads = ("NAME", "STATE", "SEEN", "RUNNING", "LOADED", "VERSION", "URL")
    show_table(heads, map(_row, found), spare=("URL", "VERSION"))


def _row(node: Node) -> tuple[Text | str, ...]:
    slots, running = (sum(getattr(one, name) for one in node.targets) for name in ("slots", "running"))
    return (
        f"{node.name} *" if node.coordinates else node.name,
        Text(node.state, style=STYLES.get(node.state, "")),
        f"{span(node.silent_seconds)} ago",
        f"{running}/{slots}",
        ", ".join(dict.fromkeys(model for one in node.targets for model in one.loaded)),
        node.version,
        node.url or "",
    )
