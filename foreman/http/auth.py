"""Auth: checks of Host and Origin, tokens, tickets, and the admin role."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from socket import gethostname
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import trio
from quart.wrappers import BaseRequestWebsocket, Request

from foreman.config.checks import name_of
from foreman.config.settings import Settings
from foreman.domain.caller import Caller
from foreman.domain.errors import HostNotAllowed, OriginNotAllowed, Unauthorized
from foreman.domain.job import Instant
from foreman.domain.node_auth import BETWEEN_NODES, NodeAuth
from foreman.http.tickets import Tickets

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/"})
OPEN_FOLDER = "/static/"  # files of the web UI, which asks for the token itself
# Routes that browsers open without headers: websockets, EventSource, images, links.
TAKE_TICKETS = frozenset(
    {
        "events.over_websocket",
        "events.over_sse",
        "jobs.follow",
        "jobs.artifact",
        "jobs.export_selected",
        "files.content",
        "batches.results",
    }
)
TICKET = "ticket"  # query parameter
TOKEN, ADMIN_TOKEN = "token", "admin_token"  # the settings that have tokens
CALLER = "foreman.caller"  # key in the scope of an admitted request: a ticket can be checked only once
EVERYWHERE = frozenset({"0.0.0.0", "::"})
EVERY_ORIGIN = "*"
API_KEY = "X-API-Key"  # token header of Anthropic's clients
# Names that mean this machine by definition, not by a DNS record that an attacker could change (RFC 6761, 6.3; the
# names of Docker and Podman for a container's host).
LOCAL_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal"})
LOCAL_SUFFIX = ".localhost"
# Origins that Ollama allows by default: pages served from this machine, and desktop programs. `null` is excluded: any
# site can send it from a sandboxed frame.
LOCAL_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::\d{1,5})?")
PROGRAM_ORIGINS = ("app://", "file://", "tauri://", "vscode-webview://", "vscode-file://")


class Auth:
    """Admits or refuses requests and websockets."""

    def __init__(self, settings: Settings) -> None:
        self.tickets = Tickets()
        self._nodes: tuple[NodeAuth, Callable[[], Instant]] | None = None
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Judge requests by these settings from now on; what is under way goes on."""
        self._private = settings.private_jobs
        self._wants_token, self._has_admins = bool(settings.token), bool(settings.admin_token)
        self._anyone = self._caller("", "")
        self._holders: dict[bytes, Caller] = {}
        for setting, tokens, default in ((TOKEN, settings.token, ""), (ADMIN_TOKEN, settings.admin_token, "admin")):
            for token in tokens:
                name, secret = name_of(token)
                caller = self._caller(name or default, setting)
                # A named token may be sent with its name or without.
                self._holders |= {token.get_secret_value().encode(): caller, secret.encode(): caller}
        self._hosts = LOCAL_NAMES | {host.lower() for host in settings.allowed_hosts} | {settings.host.lower()}
        self._origins = {origin.lower().rstrip("/") for origin in settings.cors_origins}
        if settings.advertise_url:  # where other nodes and callers are told to look
            self._hosts |= {urlsplit(settings.advertise_url).hostname or ""}
        if settings.host in EVERYWHERE:
            self._hosts |= {gethostname().lower(), gethostname().lower() + ".local"}

    def admit_nodes(self, auth: NodeAuth, clock: Callable[[], Instant]) -> None:
        """Take requests of the fleet's other nodes; `clock` returns the store's time."""
        self._nodes = auth, clock

    def is_between_nodes(self, request: Request) -> bool:
        """Return True for a request of another node, which has a right to the routes of nodes and to no other.

        Raises:
            Unauthorized: The request is for one of these routes, and no node has signed it lately.
        """
        if not request.path.startswith(BETWEEN_NODES):
            return False
        path = request.scope["raw_path"].decode("latin-1")
        if query := request.query_string:
            path += "?" + query.decode("latin-1")
        header = request.headers.get("Authorization", "")
        if self._nodes is None or not self._nodes[0].check(header, request.method, path, self._nodes[1]()):
            raise Unauthorized(given="Authorization" in request.headers, between_nodes=True)
        return True

    def check_source(self, request: BaseRequestWebsocket) -> None:
        """Check the headers Host and Origin.

        Raises:
            HostNotAllowed: The host may be a rebound DNS name.
            OriginNotAllowed: A browser sent the request for a page of another site.
        """
        named = request.headers.get("Host", "").strip().lower()
        host = _host_of(named)
        if host not in self._hosts and not host.endswith(LOCAL_SUFFIX) and not _is_address(host):
            raise HostNotAllowed(host)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower().partition("://")[2] != named and not self.allows(origin):
            raise OriginNotAllowed(origin)

    def allows(self, origin: str) -> bool:
        """Return True if pages of this foreign origin may use the server."""
        origin = origin.lower()
        return (
            origin in self._origins
            or EVERY_ORIGIN in self._origins
            or origin.startswith(PROGRAM_ORIGINS)
            or LOCAL_ORIGIN.fullmatch(origin) is not None
        )

    def check_token(self, request: BaseRequestWebsocket) -> None:
        """Identify the caller by token or ticket. Raise Unauthorized when the route needs one and it is not valid."""
        is_open = request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER)
        given = "Authorization" in request.headers or API_KEY in request.headers
        ticket = None if given or not _takes_ticket(request) else _ticket(request.query_string)
        caller = self._holder(request) if given else None
        if ticket is not None:
            caller = self.tickets.take(ticket, trio.current_time())
        if self._wants_token and not is_open and caller is None:
            raise Unauthorized(given=given, ticket=ticket is not None)
        cast(dict[str, Any], request.scope)[CALLER] = caller or self._anyone

    def check_admin(self, request: BaseRequestWebsocket) -> None:
        """Raise AdminRequired for a request without an admin token.

        Any caller passes while no admin token is set and jobs are not private.
        """
        self.caller(request).check_admin()

    def caller(self, request: BaseRequestWebsocket) -> Caller:
        """Return the caller of an admitted request."""
        caller: Caller = cast(dict[str, Any], request.scope).get(CALLER, self._anyone)
        return caller

    def ticket(self, request: BaseRequestWebsocket) -> str:
        """Return a new ticket for the request's caller."""
        return self.tickets.issue(self.caller(request), trio.current_time())

    @property
    def wants_token(self) -> bool:
        """Return True where routes want a token."""
        return self._wants_token

    @property
    def has_admins(self) -> bool:
        """Return True where an admin token is set."""
        return self._has_admins

    def _caller(self, name: str, setting: str) -> Caller:
        """Return the caller by a token of a setting, or by none."""
        admin = setting == ADMIN_TOKEN
        acts_for_all = admin or not (self._has_admins or self._private)
        return Caller(name, acts_for_all, sees_all=admin or not self._private, token_of=setting)

    def _holder(self, request: BaseRequestWebsocket) -> Caller | None:
        kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
        sent = [request.headers.get(API_KEY, ""), bearer if kind.lower() == "bearer" else ""]
        given = [token.strip().encode() for token in sent]
        # All tokens are compared, so that the time taken does not reveal which one was near.
        found = [caller for one in given for token, caller in self._holders.items() if hmac.compare_digest(one, token)]
        return next((caller for caller in found if caller.admin), found[0] if found else None)


def _ticket(query: bytes) -> str | None:
    """Return the ticket of a query, of which anything else may be wrong."""
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(TICKET)
    return found[0] if found else None


def _takes_ticket(request: BaseRequestWebsocket) -> bool:
    return request.endpoint in TAKE_TICKETS and getattr(request, "method", "GET") == "GET"


def _host_of(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


@lru_cache(64)
def _is_address(host: str) -> bool:
    """Return True for an IP address, which is safe: DNS rebinding needs a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
