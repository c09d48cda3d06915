"""The command: a live screen on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TypeAlias

import click
from rich.console import ConsoleDimensions, Group
from rich.text import Text

from foreman.cli.console import clock, console, state_text
from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import print_json
from foreman.cli.watch.poller import News, Poller
from foreman.cli.watch.render import draw
from foreman.cli.watch.state import WatchState
from foreman.cli.watch.terminal import keys, signals
from foreman.client import Client, Event, Unauthorized

FRAME = 0.1  # seconds; the least time between two frames
TICK = 1.0  # seconds between frames while nothing happens, to update ages
PAST = 50  # newest jobs to read at the start for the events
UNREAD = 1000  # news that may wait to be drawn; a faster sender has to wait
QUIT = "q"

_Box: TypeAlias = "SimpleQueue[News | str | None]"  # news, a key, or None for a new size of the terminal


@click.command(
    epilog=epilog("foreman watch", "foreman watch | grep failed", "foreman watch --json"),
    short_help="Watch the queue, running jobs and events live.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print each event as {"seq", "job_id", "state", "timestamp", "previous_state", "model", "attempt", "error", '
    '"custom_id"}, one a line, on a terminal too.',
)
@reaches_foreman
def watch(as_json: bool, url: str | None, token: str | None) -> None:
    """Show running jobs with their text, waiting jobs in order, and events, live. Quit with q or Ctrl-C.

    The first lines show the loaded model, how much runs and waits, how many jobs were done within the last minute, and
    what is wrong. In a pipe or a file, prints one line for each event instead. When Foreman goes away, waits for it and
    goes on.
    """
    with Client(url, token) as client:
        try:
            if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
                _print_events(client, as_json=as_json)
            else:
                _show(client)
        except KeyboardInterrupt:
            return


def _print_events(client: Client, *, as_json: bool) -> None:
    out = console()
    for event in client.feed(retry_for=math.inf):
        if as_json:
            print_json(event)
        else:
            out.print(_line(event))
        sys.stdout.flush()


def _line(event: Event) -> Text:
    attempt = f"  attempt {event.attempt}" if event.attempt else ""
    return (
        Text(f"{clock(event.timestamp, day=True)}  {plain(event.job_id)}  ")
        + state_text(f"{event.state:<10}")
        + Text(f"{one_line(event.model)}{attempt}" + (f"  {one_line(event.error)}" if event.error else ""))
    )


def _show(client: Client) -> None:
    """Draw until `q`. Raise a ClientError when the first connection fails, or the token is refused later."""
    box: _Box = SimpleQueue()

    def emit(news: News) -> None:
        while box.qsize() >= UNREAD:
            time.sleep(FRAME)
        box.put(news)

    state, poller = WatchState(client.url), Poller(client, emit)
    state.remember(client.jobs(limit=PAST).jobs)
    state.take(poller.snapshot())
    poller.start()
    out = console()
    with signals(lambda: box.put(None)), keys(box.put), out.screen() as screen:
        try:
            done = False
            while not done:
                poller.follow(job.job_id for job in state.queue.running)
                width, height = os.get_terminal_size(sys.stdout.fileno())  # COLUMNS and LINES do not follow a resize
                out.size = ConsoleDimensions(width, height)
                screen.update(Group(*draw(state, width, height, datetime.now(UTC))))
                done = _gather(box, state)
        finally:
            out.clear()  # else tmux, after a resize, leaves parts of this screen on the normal one


def _gather(box: _Box, state: WatchState) -> bool:
    """Apply news until it is time for a frame; return True to quit."""
    began, until = time.monotonic(), TICK
    while (left := began + until - time.monotonic()) > 0:
        try:
            news = box.get(timeout=left)
        except Empty:
            return False
        match news:
            case None:
                return False
            case str():
                if QUIT in news.lower():
                    return True
            case Unauthorized():
                raise news
            case _:
                state.take(news)
                until = FRAME
    return False
