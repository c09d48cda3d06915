"""The supervisor: the life of the process from its settings to the last signal."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from foreman import __version__, app, descriptors, logs, program
from foreman.actors.systemd import Systemd
from foreman.config.settings import Settings
from foreman.domain.errors import ForemanError, SettingInvalid
from foreman.garbage import rare_full_collections
from foreman.greeting import greeting, has_reader
from foreman.heap import trimmed_heap
from foreman.opening import opened
from foreman.resolver import Resolver

log = structlog.get_logger()

BACKLOG = 1024  # connections that may wait to be accepted
SWITCH_INTERVAL = 0.0005  # seconds; a tenth of the default, so that the writer thread gets the interpreter sooner
STOP_MARGIN = 30.0  # seconds beyond the grace period for stopping children and the last commits and answers


@dataclass(frozen=True, slots=True)
class Running:
    """The report of `main` once it serves."""

    url: str


def serve(
    settings: Settings, *, reread: Callable[[], Settings] | None = None, clock: Callable[[], float] = time.time
) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. A second signal exits at once.

    At SIGHUP, `reread` reads the settings once more.
    """
    lines = logs.configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)
    if (room := descriptors.allow(settings.max_connections)) < settings.max_connections:
        more = settings.max_connections + descriptors.OWN
        hint = f"allow {more} open files: 'ulimit -n {more}', or LimitNOFILE={more} for systemd"
        log.warning("fewer clients can be connected than max_connections says", connections=room, hint=hint)
    try:
        with rare_full_collections(), trimmed_heap():
            greet = lines.write if has_reader() and settings.log_format != "json" else None
            return trio.run(partial(main, settings, reread=reread, clock=clock, greet=greet))
    finally:
        lines.close()


async def main(
    settings: Settings,
    *,
    reread: Callable[[], Settings] | None = None,
    clock: Callable[[], float] = time.time,
    greet: Callable[[str], None] | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> int:
    """Run the whole program; return its exit code after a drain. Raise errors that no restart can repair.

    `greet` gets the lines for a person who looks on.
    """
    systemd = Systemd.take(os.environ)
    trio.socket.set_custom_hostname_resolver(Resolver())
    listening = _listen(settings)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        trio.open_signal_receiver(signal.SIGHUP) as hangups,
        listening,
        opened(settings) as store,
    ):
        async with trio.open_nursery() as nursery:
            living = app.build(settings, store, clock, reread=reread)
            living.context.watchdog.install()
            await living.check_addresses(listening)
            await living.start(nursery, listening)
            await living.check_targets()
            url = _url(settings, listening)
            fleet = living.context.fleet
            addresses = [member.target.address for member in fleet.members]
            log.info("foreman serves", version=__version__, url=url, pid=os.getpid(), target=", ".join(addresses))
            if greet:
                greet(greeting(settings, url, addresses, [model.name for model in fleet.models()]))
            task_status.started(Running(url))
            systemd.ready(url)
            await nursery.start(living.supervised("systemd", partial(systemd.run, partial(living.look, url))))
            nursery.start_soon(_reload_at_each, hangups, living)
            async for _ in signals:
                break
            grace = living.context.settings.shutdown_grace
            log.info("draining", grace=grace)
            systemd.leaving(grace + STOP_MARGIN)
            nursery.start_soon(_leave_at_next, signals)
            await living.drain(grace)
            nursery.cancel_scope.cancel()
    log.info("stopped")
    return 0


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        why = f"cannot listen there ({error.strerror or error}): give another, such as FOREMAN_ADDR=127.0.0.1:8081"
        raise SettingInvalid("addr", settings.addr, why) from error
    return listening


def _url(settings: Settings, listening: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{listening.getsockname()[1]}"


async def _reload_at_each(hangups: AsyncIterator[int], living: app.App) -> None:
    async for _ in hangups:
        with suppress(ForemanError):  # which is logged
            await living.reloader.reload()


async def _leave_at_next(signals: AsyncIterator[int]) -> None:
    began = trio.current_time()
    async for number in signals:
        if number == signal.SIGINT and trio.current_time() - began < program.ECHO:
            continue  # one Ctrl-C may arrive twice: from the terminal, and forwarded by a parent
        log.warning("leaving at once")
        os._exit(1)
