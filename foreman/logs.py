"""Structured logs: for people on a terminal, JSON elsewhere. Prompts and answers are never logged."""

from __future__ import annotations

import logging
import sys

import msgspec
import structlog


def configure(log_format: str, log_level: str) -> None:
    """Log to standard error; `log_format` is console, json, or empty to go by whether that is a terminal."""
    console = log_format == "console" or (not log_format and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if console:
        # Plain tracebacks: the pretty ones print local variables, and prompts are among them.
        plain = structlog.dev.plain_traceback
        render: list[structlog.types.Processor] = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    else:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_as_json)]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("hypercorn").setLevel(logging.CRITICAL)


def _as_json(event: structlog.types.EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
