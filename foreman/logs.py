"""Structured logs: readable on a terminal, JSON elsewhere. Prompts and answers are never logged.

A line that cannot be written never stops or blocks the process. It is dropped and counted, and a later line reports it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import structlog

ROOM = 2**20  # bytes of lines buffered for a stalled reader
TOGETHER = 0.03  # seconds to wait for more lines
LAST_LINES = 1.0  # seconds to write the last lines at exit
NOWHERE = -1  # never an open descriptor: the number of a closed standard error may be reused by the database

_dropped = 0
_dropped_lock = threading.Lock()  # any thread may drop lines


def configure(log_format: str, log_level: str) -> LineWriter:
    """Log to standard error; `log_format` is console, json, or empty: console on a terminal, else json.

    Close the returned writer at the end of the process.
    """
    terminal = bool(sys.stderr) and sys.stderr.isatty()
    console = log_format == "console" or (not log_format and terminal)
    render: structlog.types.Processor = _as_json
    if console:
        # Plain tracebacks: the pretty ones print local variables, which include prompts.
        plain = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)
    writer = LineWriter(sys.stderr.fileno() if sys.stderr else NOWHERE)
    structlog.configure(
        processors=[_stamp, render],
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(cast(Any, writer)),
        cache_logger_on_first_use=True,
    )
    set_level(log_level)
    logging.getLogger("hypercorn").setLevel(logging.CRITICAL)
    return writer


class _Logger(structlog.make_filtering_bound_logger("debug")):  # type: ignore[misc]
    """The class of all loggers, which are cached: a change of the level changes its methods."""


def set_level(log_level: str) -> None:
    """Log what is of this level or above it from now on."""
    for name, method in vars(structlog.make_filtering_bound_logger(log_level)).items():
        if not name.startswith("__"):
            setattr(_Logger, name, method)


def dropped() -> int:
    """Return the number of lines dropped since the start, including those of managed servers."""
    return _dropped


def count_dropped(lines: int) -> None:
    """Add `lines` to the number of dropped lines."""
    global _dropped
    with _dropped_lock:
        _dropped += lines


class LineWriter:
    """A file for `structlog.WriteLogger` that never blocks or fails: it writes in a thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._waiting = 0  # bytes
        self._lock = threading.Lock()
        self._asleep = False  # the thread waits for `_wake`
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._reported = dropped()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Queue a line; drop it when `ROOM` is used up or after `close`."""
        line = text.encode("utf-8", "replace")
        with self._lock:
            own = threading.current_thread() is self._thread  # which may report drops after `close`
            full = (self._closing.is_set() and not own) or self._waiting + len(line) > ROOM
            if not full:
                self._waiting += len(line)
                self._lines.append(line)
            wake = self._asleep
        if wake:
            self._wake.set()
        if full:
            count_dropped(1)

    def flush(self) -> None:
        """Do nothing, since the thread writes without delay."""

    def close(self, timeout: float = LAST_LINES) -> None:
        """Accept no more lines; wait at most `timeout` seconds until all are written."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        """Write the lines of a moment together: each time the thread runs, it takes the interpreter from the others."""
        while True:
            self._wake.clear()
            closing = self._closing.is_set()
            with self._lock:
                lines, self._lines = self._lines, []
                self._asleep = not lines and not closing
            if lines:
                self._write(lines)
            elif closing:
                return
            else:
                self._wake.wait()
                self._asleep = False
            self._closing.wait(TOGETHER)

    def _write(self, lines: list[bytes]) -> None:
        data, size = b"".join(lines), sum(map(len, lines))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # the disk is full, or the reader is gone
            count_dropped(max(1, data.count(b"\n")))
        finally:
            with self._lock:
                self._waiting -= size
        if size and not data and (lost := dropped() - self._reported):
            self._reported += lost
            structlog.get_logger().warning("log lines were dropped", lines=lost)


def _stamp(logger: object, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Add the level and the time in UTC."""
    event["level"] = "error" if method == "exception" else method
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


def _as_json(logger: object, method: str, event: structlog.types.EventDict) -> str:
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return msgspec.json.encode(event, enc_hook=str).decode()
