"""TLS of the server."""

from __future__ import annotations

import ssl


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """Return a context for HTTPS with HTTP/1.1. Raise OSError when the files are unreadable or do not match."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context
