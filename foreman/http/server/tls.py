"""TLS of the server."""

from __future__ import annotations

import ssl

from foreman.domain.errors import SettingInvalid


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """Return a context for HTTPS with HTTP/1.1. Raise OSError when the files are unreadable or do not match."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_of(cert: str, key: str) -> ssl.SSLContext | None:
    """Return a context for the settings tls_cert and tls_key, or None without them. Raise SettingInvalid."""
    if not cert:
        return None
    try:
        return tls_context(cert, key)
    except OSError as error:
        why = (error.reason or "not in PEM") if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingInvalid("tls_cert", cert, f"cannot be used with its key ({why})") from error
