"""Notifications to systemd: readiness, status, watchdog, stopping. The protocol is sd_notify(3)."""

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

STATUS_EVERY = 10.0  # seconds between status messages; sooner with a watchdog


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager; sends nothing when the process was not started by systemd."""

    address: str = ""  # of its datagram socket; an abstract one begins with `@`
    timeout: float = math.inf  # WATCHDOG_USEC in seconds: without a message for so long, systemd kills the service

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Systemd:
        """Read the variables and remove them, so that child processes cannot notify for this service."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watched, microseconds = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        ours = {"", str(os.getpid())} | ({str(os.getppid())} if program.frozen() else set())
        watches = address and watched in ours and microseconds.isdigit() and int(microseconds)
        return cls(address, int(microseconds) / 1e6 if watches else math.inf)

    def ready(self, status: str) -> None:
        """Notify that callers are served."""
        self._emit("READY=1", f"STATUS={status}")

    def leaving(self, seconds: float) -> None:
        """Notify that the service is stopping, and may take `seconds`."""
        self._emit("STOPPING=1", "STATUS=draining", f"EXTEND_TIMEOUT_USEC={math.ceil(seconds * 1e6)}")

    async def run(
        self,
        look: Callable[[], Awaitable[str | None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Send the status and the watchdog's keep-alive for ever.

        `look` returns the status once every part has shown that it works, None when one does not. While it waits or
        the event loop is blocked, no keep-alive is sent, and systemd restarts the service.
        """
        task_status.started()
        if not self.address:
            await trio.sleep_forever()
        while True:
            await trio.sleep(min(self.timeout / 2, STATUS_EVERY))
            if (status := await look()) is not None:
                self._emit("WATCHDOG=1", f"STATUS={status}")

    def _emit(self, *lines: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.setblocking(False)
                to.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd could not be told", what=lines[0], why=error.strerror)
