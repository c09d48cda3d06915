"""Builds the app: routes, faults, limits, and who may come in."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from socket import gethostname

from quart import request
from quart_trio import QuartTrio

from foreman.errors import HostNotAllowed, Unauthorized
from foreman.http import problems
from foreman.http.deps import KEY, Deps
from foreman.http.jobs import jobs
from foreman.http.service import service

BODY_PATIENCE = 60  # seconds for a whole request body
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def build(found: Deps) -> QuartTrio:
    """The app over these actors."""
    app = QuartTrio("foreman", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = found.settings.max_body
    app.config["BODY_TIMEOUT"] = BODY_PATIENCE
    app.extensions[KEY] = found
    app.register_blueprint(jobs)
    app.register_blueprint(service)
    problems.install(app)
    _install_gate(app, found)
    return app


def _install_gate(app: QuartTrio, found: Deps) -> None:
    tokens = [token.get_secret_value().encode() for token in found.settings.token]
    everywhere = found.settings.host in EVERYWHERE
    hosts = LOOPBACK_NAMES | {host.lower() for host in found.settings.allowed_hosts} | {found.settings.host.lower()}
    if everywhere:
        hosts |= {gethostname().lower(), gethostname().lower() + ".local"}

    @app.before_request
    async def gate() -> None:
        host = _host_of(request.headers.get("Host", ""))
        if host not in hosts and not (everywhere and _is_address(host)):
            raise HostNotAllowed(host)
        if tokens and request.path not in OPEN_PATHS:
            kind, _, given = request.headers.get("Authorization", "").partition(" ")
            matches = [hmac.compare_digest(given.strip().encode(), token) for token in tokens]
            if kind.lower() != "bearer" or not any(matches):
                raise Unauthorized(given=bool(given))


def _host_of(header: str) -> str:
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_address(host: str) -> bool:
    """A rebinding page needs a name: an address in Host is what the user typed."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
