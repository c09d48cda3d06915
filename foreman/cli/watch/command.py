"""The command: a live screen on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TypeAlias

import click
from rich.console import ConsoleDimensions, Group
from rich.control import Control
from rich.text import Text

from foreman.cli.console import clock, console, state_text
from foreman.cli.exit_codes import epilog
from foreman.cli.options import reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import print_json
from foreman.cli.watch import actions
from foreman.cli.watch.poller import News, Poller
from foreman.cli.watch.render import draw
from foreman.cli.watch.screen import Look, Quit, Screen
from foreman.cli.watch.state import Said, WatchState
from foreman.cli.watch.terminal import cut_lines, read_keys, signals, single_keys, stop
from foreman.client import Client, Event, Unauthorized

FRAME = 0.1  # seconds; the least time between two frames
TICK = 1.0  # seconds between frames while nothing happens, to update ages
PAST = 50  # newest jobs to read at the start for the events
UNREAD = 1000  # news that may wait to be drawn; a faster sender has to wait
AFTER_KEY = 0.02  # seconds; keys that follow each other faster share a frame


@dataclass(frozen=True, slots=True)
class _Key:
    name: str


@dataclass(frozen=True, slots=True)
class _Stop:
    """Ctrl-Z."""


_Box: TypeAlias = "SimpleQueue[News | _Key | _Stop | None]"  # None is a new size of the terminal


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
    """Show what runs, waits and happens, and lists of jobs, targets, batches and nodes, live. Quit with q or Ctrl-C.

    Arrows or j and k select, Enter opens a job with its text, / filters, c cancels, r retries, p pauses, ? shows all
    keys. The first lines show the loaded model, how much runs and waits, how many jobs were done within the last
    minute, and what is wrong. In a pipe or a file, prints one line for each event instead. When Foreman goes away,
    waits for it and goes on.
    """
    with Client(url, token) as client:
        try:
            if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
                _print_events(client, as_json=as_json)
            else:
                show(client)
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


def show(client: Client, look: Look | None = None) -> None:
    """Draw until `q`. Raise a ClientError when the first connection fails, or the token is refused later.

    `look` is what is shown first.
    """
    box: _Box = SimpleQueue()

    def emit(news: News) -> None:
        while box.qsize() >= UNREAD:
            time.sleep(FRAME)
        box.put(news)

    state, screen, poller = WatchState(client.url), Screen(look or Look()), Poller(client, emit)
    state.remember(client.jobs(limit=PAST).jobs)
    state.take(poller.snapshot())
    poller.start()
    watching = _Watching(client, box, state, screen, poller)
    with signals(lambda: box.put(None), lambda: box.put(_Stop())):
        read_keys(lambda key: box.put(_Key(key)))
        while watching.until_stopped():
            stop()


@dataclass(frozen=True, slots=True)
class _Watching:
    client: Client
    box: _Box
    state: WatchState
    screen: Screen
    poller: Poller

    def until_stopped(self) -> bool:
        """Draw on the other screen of the terminal until the process is to stop; return False when the person quits."""
        out = console()
        with single_keys(), out.screen() as canvas, cut_lines(out.file):
            try:
                while True:
                    self._follow()
                    width, height = os.get_terminal_size(sys.stdout.fileno())  # COLUMNS and LINES do not follow it
                    out.size = ConsoleDimensions(width, height)
                    out.control(Control.home())  # else each frame scrolls the last one away
                    canvas.update(Group(*draw(self.state, self.screen, width, height, datetime.now(UTC))))
                    match self._gather():
                        case Quit():
                            return False
                        case _Stop():
                            return True
            finally:
                out.clear()  # else tmux, after a resize, leaves parts of this screen on the normal one

    def _follow(self) -> None:
        look = self.screen.look
        self.poller.look_at(look)
        running = [job.job_id for job in self.state.queue.running]
        self.poller.follow([look.opened, *running] if look.opened in running else running)

    def _gather(self) -> Quit | _Stop | None:
        """Apply news until it is time for a frame: at once after a key."""
        began, until = time.monotonic(), TICK
        while (left := began + until - time.monotonic()) > 0:
            try:
                news = self.box.get(timeout=left)
            except Empty:
                return None
            match news:
                case None:
                    return None
                case _Stop():
                    return news
                case _Key():
                    act = self.screen.press(news.name, paused=self.state.queue.paused)
                    if isinstance(act, Quit):
                        return act
                    if act:
                        actions.start(self.client, act, self.box.put)
                    until = min(until, AFTER_KEY)
                case Said():
                    self.screen.said, self.screen.failed = news.text, news.failed
                    self.poller.look_again()
                    return None
                case Unauthorized():
                    raise news
                case _:
                    self.state.take(news)
                    until = min(until, FRAME)
        return None
