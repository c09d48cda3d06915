"""Foreman: a durable, observable job queue in front of your own inference server."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost every start of a leash some milliseconds
if TYPE_CHECKING:
    from foreman.client import AsyncClient as AsyncClient
    from foreman.client import Client as Client
    from foreman.client import ClientError as ClientError
    from foreman.receiver import Receiver as Receiver
    from foreman.receiver import SignatureInvalid as SignatureInvalid
    from foreman.receiver import verify_webhook as verify_webhook

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Receiver",
    "SignatureInvalid",
    "__version__",
    "verify_webhook",
]


if not TYPE_CHECKING:  # type checkers would accept any misspelt name

    def __getattr__(name: str) -> object:
        # Imported lazily: the hidden commands that guard child processes must start fast.
        if name in ("AsyncClient", "Client", "ClientError"):
            from foreman import client

            return getattr(client, name)
        if name in ("Receiver", "SignatureInvalid", "verify_webhook"):
            from foreman import receiver

            return getattr(receiver, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
