"""What the server logs beside what the routes log."""

from __future__ import annotations

import logging
import math
import sys

import structlog
import trio
from hypercorn.logging import Logger

from foreman.domain.errors import ForemanError

log = structlog.get_logger()

SAID_EVERY = 60.0  # seconds between equal warnings


class AcceptErrors(logging.Handler):
    """Logs that connections cannot be accepted, at most every SAID_EVERY seconds: Trio logs it every 0.1 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record."""
        if trio.current_time() - self._said_at >= SAID_EVERY:
            self._said_at = trio.current_time()
            error = record.exc_info[1] if record.exc_info else None
            log.warning("cannot accept connections, trying again", why=str(error or record.getMessage()))


class LateErrors(Logger):
    """Logs errors after an answer's head was sent, when no route can answer with them."""

    async def exception(self, message: str, *args: object, **kwargs: object) -> None:
        """Log the error that is being handled; one that a server is to blame for is no bug."""
        error = sys.exception()
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, ForemanError):
            log.warning("answer broke off", why=str(error))
        else:
            log.error("answer broke off", why=message, exc_info=True)
