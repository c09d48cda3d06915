"""Explain in plain words why a connection failed; no I/O."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import httpx2

from foreman.client.errors import AnswerTooLarge


def why(error: Exception) -> str:
    """Return the reason of a failure: the message of TLS or the system where there is one, else the kind of failure."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    if isinstance(error, AnswerTooLarge):
        return "an endless answer"
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message.rstrip('.')})"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({(cause.reason or 'it broke').lower().replace('_', ' ')})"
        if isinstance(cause, socket.gaierror):
            return f"its name cannot be resolved ({str(cause.strerror).lower()})"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError | httpx2.CloseError):
        return "the connection broke"
    return "it failed"


def refused(error: BaseException) -> bool:
    """Return True if every address that was tried refused the connection."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(refused, error.exceptions))
    deeper = error.__cause__ or error.__context__
    return isinstance(error, ConnectionRefusedError) or (deeper is not None and refused(deeper))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, those of libraries before those of the system."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from causes(one)
        error = error.__cause__ or error.__context__
