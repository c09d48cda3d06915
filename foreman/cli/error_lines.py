"""The one-line form of errors, with their exit codes."""

from __future__ import annotations

import errno
import os

import msgspec

from foreman.cli.exit_codes import FAILED, INSTALL, MISUSED, NO_DAEMON, REFUSED
from foreman.client.errors import (
    AnswerTooLarge,
    ArgumentInvalid,
    ClientError,
    ConnectFailed,
    NotForeman,
    Refused,
    Unauthorized,
)
from foreman.client.reading import TooMuch
from foreman.domain.errors import ForemanError, SettingInvalid

_TOO_LARGE = "if that is a foreman, ask for less; else set FOREMAN_URL to the URL of a foreman"


def line_and_code(error: BaseException) -> tuple[str, int] | None:
    """Return the line and the exit code for an expected error; None for a bug."""
    if isinstance(error, BaseExceptionGroup):
        known = [found for inner in error.exceptions if (found := line_and_code(inner))]
        return known[0] if known else None
    match error:
        case SettingInvalid():
            return _with_hint(error), MISUSED
        case ForemanError():
            return _with_hint(error), FAILED
        case ArgumentInvalid():
            return str(error), MISUSED
        case ConnectFailed() | NotForeman():
            return str(error), NO_DAEMON
        case Unauthorized(status=401):
            return f"{error.message}: set FOREMAN_TOKEN, or give --token", REFUSED
        case Refused(code="admin_required"):
            return f"{error.message}: set FOREMAN_TOKEN to it, or give --token", REFUSED
        case Refused():
            return str(error), REFUSED
        case AnswerTooLarge():
            return f"{error.message}: {_TOO_LARGE}", FAILED
        case TooMuch():  # of a raw answer
            return f"the answer is too large ({error}): {_TOO_LARGE}", FAILED
        case msgspec.DecodeError():  # of a raw answer
            return "the server is not a foreman: set FOREMAN_URL to the URL of a foreman", NO_DAEMON
        case ClientError():
            return str(error), FAILED
        case ModuleNotFoundError(name=str(name)) if not name.startswith("foreman"):
            return f"this command needs the server ({name} is not installed): {INSTALL}", FAILED
        case OSError() if error.errno and error.errno != errno.EPIPE:  # click handles EPIPE itself
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{os.strerror(error.errno).lower()}", FAILED
    return None


def _with_hint(error: ForemanError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)
