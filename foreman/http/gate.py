"""Who may come in: the Host and Origin headers, the tokens, and who is admin."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from socket import gethostname

from pydantic import SecretStr
from quart.wrappers import BaseRequestWebsocket

from foreman.errors import AdminRequired, HostNotAllowed, OriginNotAllowed, Unauthorized
from foreman.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})
EVERY_ORIGIN = "*"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Gate:
    """Judges requests and websockets."""

    def __init__(self, settings: Settings) -> None:
        self._admins = _secrets(settings.admin_token)
        self._tokens = _secrets(settings.token)
        self._everywhere = settings.host in EVERYWHERE
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in settings.allowed_hosts} | {settings.host.lower()}
        self._origins = {origin.lower().rstrip("/") for origin in settings.cors_origins}
        if self._everywhere:
            self._hosts |= {gethostname().lower(), gethostname().lower() + ".local"}

    def check_source(self, request: BaseRequestWebsocket) -> None:
        """Raises HostNotAllowed; OriginNotAllowed for what a web page of another site has its reader's browser send."""
        named = request.headers.get("Host", "").strip().lower()
        host = _host_of(named)
        if host not in self._hosts and not (self._everywhere and _is_address(host)):
            raise HostNotAllowed(host)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower().partition("://")[2] != named and not self.allows(origin):
            raise OriginNotAllowed(origin)

    @property
    def allows_any(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of another site may use this server."""
        return origin.lower() in self._origins or EVERY_ORIGIN in self._origins

    def check_token(self, request: BaseRequestWebsocket) -> None:
        """Raises Unauthorized."""
        if self._tokens and request.path not in OPEN_PATHS and not _holds(request, self._tokens + self._admins):
            raise Unauthorized(given="Authorization" in request.headers)

    def check_admin(self, request: BaseRequestWebsocket) -> None:
        """Raises AdminRequired when an admin token is set and the request does not carry one."""
        if self._admins and not _holds(request, self._admins):
            raise AdminRequired


def _holds(request: BaseRequestWebsocket, tokens: Sequence[bytes]) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    # All are compared, so that the time taken says nothing about which one was near.
    matches = [hmac.compare_digest(given.strip().encode(), token) for token in tokens]
    return kind.lower() == "bearer" and any(matches)


def _secrets(tokens: Sequence[SecretStr]) -> list[bytes]:
    return [token.get_secret_value().encode() for token in tokens]


def _host_of(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


def _is_address(host: str) -> bool:
    """A rebinding page needs a name: an address in Host is what the user typed."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
