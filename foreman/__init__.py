"""Foreman: a durable, observable job queue in front of your own inference server."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would cost every start of a leash some milliseconds
if TYPE_CHECKING:
    from typing import Any

    from foreman.receiver import verify_webhook as verify_webhook

__version__ = "0.1.0"
__all__ = ["__version__", "verify_webhook"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the hidden verbs that hold child processes must start in a moment.
    if name == "verify_webhook":
        from foreman.receiver import verify_webhook

        return verify_webhook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
