"""The actions of the screen: each in a thread of its own, so that the screen goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from foreman.cli.plain import one_line
from foreman.cli.watch.screen import SHORT, Act
from foreman.cli.watch.state import Said
from foreman.client import Client, ClientError


def start(client: Client, act: Act, emit: Callable[[Said], None]) -> None:
    """Do it; `emit` gets the outcome in words."""
    threading.Thread(target=lambda: emit(_do(client, act)), daemon=True).start()


def _do(client: Client, act: Act) -> Said:
    about = act.subject[-SHORT:]
    try:
        match act.verb:
            case "cancel":
                client.cancel(act.subject)
                return Said(f"job {about} is cancelled")
            case "retry":
                client.retry(act.subject)
                return Said(f"job {about} is queued again")
            case "cancel batch":
                return Said(f"batch {about} is {client.cancel_batch(act.subject).state}")
            case "pause":
                client.pause()
                return Said("the queue is paused")
            case "resume":
                client.resume()
                return Said("the queue goes on")
    except ClientError as error:
        return Said(one_line(str(error)), failed=True)
