"""What systemd is told, where it asks: ready, how things stand, still alive, leaving. The protocol is sd_notify(3)."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass

import structlog
import trio

from foreman import program

log = structlog.get_logger()

STATUS_EVERY = 10.0  # seconds between two looks where no watchdog wants them sooner


@dataclass(frozen=True, slots=True)
class Systemd:
    """The one who started this service; tells nothing when that was not systemd."""

    address: str = ""  # of its datagram socket; `@` begins an abstract one
    timeout: float = math.inf  # seconds without a sign of life after which it ends this service

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Systemd:
        """Read the variables and remove them: no child shall speak for this service."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watched, microseconds = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        ours = {"", str(os.getpid())} | ({str(os.getppid())} if program.frozen() else set())
        watches = address and watched in ours and microseconds.isdigit() and int(microseconds)
        return cls(address, int(microseconds) / 1e6 if watches else math.inf)

    def ready(self, status: str) -> None:
        """Say that callers are served."""
        self._tell("READY=1", f"STATUS={status}")

    def leaving(self, seconds: float) -> None:
        """Say that this service ends, and that it may take so long."""
        self._tell("STOPPING=1", "STATUS=draining", f"EXTEND_TIMEOUT_USEC={math.ceil(seconds * 1e6)}")

    async def run(
        self,
        look: Callable[[], Awaitable[str | None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Say how things stand, and that this service is alive, for as long as it is.

        `look` tells how things stand once every part has shown that it works; None when one does not. While it waits,
        or the event loop is held, nothing is said either, and systemd starts this service anew.
        """
        task_status.started()
        if not self.address:
            await trio.sleep_forever()
        while True:
            await trio.sleep(min(self.timeout / 2, STATUS_EVERY))
            if (status := await look()) is not None:
                self._tell("WATCHDOG=1", f"STATUS={status}")

    def _tell(self, *lines: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.setblocking(False)
                to.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd could not be told", what=lines[0], why=error.strerror)
