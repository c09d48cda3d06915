"""Which errors come from a shortage of this machine's."""

from __future__ import annotations

import errno
import socket

import pytest

from foreman.shortage import shortage_in


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.EMFILE, "Too many open files")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (FULL, True),
        (OSError(errno.ENFILE, "x"), True),
        (OSError(errno.EADDRNOTAVAIL, "x"), True),
        (BlockingIOError(errno.EAGAIN, "fork"), True),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (socket.gaierror(socket.EAI_SYSTEM, "System error"), True),
        (caused(OSError("all attempts to connect failed"), ExceptionGroup("", [FULL, FULL])), True),
        (caused(OSError("all attempts to connect failed"), ExceptionGroup("", [FULL, REFUSED])), False),
        (REFUSED, False),
        (RuntimeError("a bug"), False),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
    ],
)
def test_a_shortage_is_told_from_other_errors(error: Exception, short: bool) -> None:
    assert (shortage_in(error) is not None) is short
