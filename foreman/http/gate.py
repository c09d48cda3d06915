"""Who may come in: the Host and Origin headers, the tokens, and who is admin."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from socket import gethostname

from pydantic import SecretStr
from quart.wrappers import BaseRequestWebsocket

from foreman.errors import AdminRequired, HostNotAllowed, OriginNotAllowed, Unauthorized
from foreman.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/"})
OPEN_FOLDER = "/static/"  # of the page, which asks for the token itself
EVERYWHERE = frozenset({"0.0.0.0", "::"})
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
EVERY_ORIGIN = "*"
API_KEY = "X-API-Key"  # where Anthropic's clients send their token
# Names that lead to this machine by their meaning, not by a DNS record that anybody could change (RFC 6761, 6.3; what
# Docker and Podman call the host of a container).
LOCAL_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal"})
LOCAL_SUFFIX = ".localhost"
# Origins that Ollama allows by default: pages served from this machine, and those of desktop programs. `null` is not
# among them: any site can have it sent, by a frame in a sandbox.
LOCAL_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::\d{1,5})?")
PROGRAM_ORIGINS = ("app://", "file://", "tauri://", "vscode-webview://", "vscode-file://")


class Gate:
    """Judges requests and websockets."""

    def __init__(self, settings: Settings) -> None:
        self._admins = _named(settings.admin_token, "admin")
        self._tokens = _named(settings.token, "")
        self._hosts = LOCAL_NAMES | {host.lower() for host in settings.allowed_hosts} | {settings.host.lower()}
        self._origins = {origin.lower().rstrip("/") for origin in settings.cors_origins}
        if settings.host in EVERYWHERE:
            self._hosts |= {gethostname().lower(), gethostname().lower() + ".local"}

    def check_source(self, request: BaseRequestWebsocket) -> None:
        """Raises HostNotAllowed; OriginNotAllowed for what a web page of another site has its reader's browser send."""
        named = request.headers.get("Host", "").strip().lower()
        host = _host_of(named)
        if host not in self._hosts and not host.endswith(LOCAL_SUFFIX) and not _is_address(host):
            raise HostNotAllowed(host)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower().partition("://")[2] != named and not self.allows(origin):
            raise OriginNotAllowed(origin)

    def allows(self, origin: str) -> bool:
        """Return whether pages of this origin, which is not the server's own, may use it."""
        origin = origin.lower()
        return (
            origin in self._origins
            or EVERY_ORIGIN in self._origins
            or origin.startswith(PROGRAM_ORIGINS)
            or LOCAL_ORIGIN.fullmatch(origin) is not None
        )

    def check_token(self, request: BaseRequestWebsocket) -> None:
        """Raises Unauthorized."""
        is_open = request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER)
        if self._tokens and not is_open and self._bearer(request) is None:
            raise Unauthorized(given="Authorization" in request.headers or API_KEY in request.headers)

    def check_admin(self, request: BaseRequestWebsocket) -> None:
        """Raises AdminRequired when an admin token is set and the request does not carry one."""
        if self._admins and _holder(request, self._admins) is None:
            raise AdminRequired

    def caller(self, request: BaseRequestWebsocket) -> str:
        """The name of the token that the request carries; empty when it has none."""
        return self._bearer(request) or ""

    def check_owner(self, request: BaseRequestWebsocket, owner: str) -> None:
        """Raises AdminRequired for what another caller has submitted, when an admin token is set."""
        if self.caller(request) != owner:
            self.check_admin(request)

    def _bearer(self, request: BaseRequestWebsocket) -> str | None:
        return _holder(request, {**self._tokens, **self._admins})


def _holder(request: BaseRequestWebsocket, tokens: Mapping[bytes, str]) -> str | None:
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    sent = [request.headers.get(API_KEY, ""), bearer if kind.lower() == "bearer" else ""]
    given = [token.strip().encode() for token in sent]
    # All are compared, so that the time taken says nothing about which one was near.
    matches = [name for one in given for token, name in tokens.items() if hmac.compare_digest(one, token)]
    return matches[0] if matches else None


def _named(tokens: Sequence[SecretStr], default: str) -> dict[bytes, str]:
    """Who sends which token. One set as `alice:SECRET` is alice's, and may be sent with the name or without."""
    found: dict[bytes, str] = {}
    for token in tokens:
        text = token.get_secret_value()
        name, _, secret = text.partition(":")
        if secret and NAME.fullmatch(name):
            found |= {text.encode(): name, secret.encode(): name}
        else:
            found[text.encode()] = default
    return found


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
