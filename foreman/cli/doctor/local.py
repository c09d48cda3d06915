"""Checks of this machine: data folder, address to listen on, token, certificate, and a running Foreman."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import ssl
import tempfile
from pathlib import Path

import msgspec

from foreman import descriptors
from foreman.cli.doctor.finding import Finding, bad, doubtful, good
from foreman.client import Client, ClientError, ConnectFailed, Unauthorized, requests
from foreman.config.settings import Settings
from foreman.domain.errors import StoreRefused
from foreman.store import integrity

DATABASE = "foreman.db"
TIMEOUT = 5.0  # seconds for an answer of Foreman
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # loopback address of a server that listens on every address


def store(settings: Settings) -> Finding:
    """Check that the data folder is writable and its database usable."""
    folder = settings.data_dir
    try:
        _try_writing(folder)
    except OSError as error:
        return bad(
            "store",
            f"cannot write to {folder} ({error.strerror or error})",
            "give it to the user who runs foreman (chown, chmod), or choose another folder with --data-dir",
        )
    if settings.node:
        if why := integrity.quick_check_server(settings.database_url.get_secret_value()):
            return bad("store", why, "fix database_url, or the server that it names")
        where = settings.blob_folder
        return good("store", f"the database of database_url; blobs in {where if where else 'it'}")
    database = folder / DATABASE
    if not database.exists():
        return good("store", f"{folder}, no database yet")
    if not os.access(database, os.W_OK):
        return bad("store", f"cannot write to {database}", "give it to the user who runs foreman (chown)")
    try:
        why = integrity.quick_check(database)
    except StoreRefused as refused:
        why = str(refused)
    if why:
        return bad("store", f"{database}: {why}", "restore a backup, or choose another folder with --data-dir")
    return good("store", str(database))


def _try_writing(folder: Path) -> None:
    """Write a temporary file there, or next to a folder that does not exist yet. Raise OSError."""
    if folder.exists():
        with tempfile.TemporaryFile(dir=folder):
            return
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    with tempfile.TemporaryDirectory(dir=nearest):
        pass


def full_text(settings: Settings) -> Finding | None:
    """Say how far the index of words is, if it is wanted."""
    if not settings.full_text:
        return None
    if not settings.node and not integrity.has_fts5():
        do = "run it with a Python whose SQLite has FTS5, or set full_text = false"
        return bad("full text", f"SQLite {sqlite3.sqlite_version} is built without FTS5", do)
    try:
        url = settings.database_url.get_secret_value()
        database = settings.data_dir / DATABASE
        if not settings.node and (why := integrity.quick_check_index(database)):
            what, _, do = why.rpartition(": ")
            return bad("full text", what, do)
        state = integrity.indexing_server(url) if settings.node else integrity.indexing(database)
    except StoreRefused:
        return None  # the check of the store says so
    if state is None or not state.version:
        return good("full text", "foreman indexes all jobs as soon as it runs")
    return good("full text", "all jobs are indexed" if state.whole else f"{state.done:,} older jobs are indexed so far")


def few_descriptors(settings: Settings) -> Finding | None:
    """Return a warning if the limit of open files is below max_connections."""
    wanted = settings.max_connections + descriptors.OWN
    room = descriptors.allow(settings.max_connections)
    if room >= settings.max_connections:
        return None
    what = f"the limit allows {room} connections, not {settings.max_connections}"
    return doubtful("open files", what, f"allow {wanted}: 'ulimit -n {wanted}', or LimitNOFILE={wanted} for systemd")


class Alive(msgspec.Struct):
    """The answer of /healthz; other servers do not send all of these fields."""

    version: str
    degraded: bool
    target_error: str | None = None


def port(settings: Settings) -> tuple[Finding, bool]:
    """Check that `addr` is free; also return True when a Foreman listens there already."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
            probe.listen()
    except OSError as error:
        return _not_free(settings, error)
    return good("port", f"{settings.addr} is free"), False


def _not_free(settings: Settings, refusal: OSError) -> tuple[Finding, bool]:
    if refusal.errno == errno.EACCES:
        do = "choose a port from 1024 on with --addr, or give it CAP_NET_BIND_SERVICE"
        return bad("port", f"this user may not listen on {settings.addr}", do), False
    if refusal.errno != errno.EADDRINUSE:
        do = "set addr to an address that this machine has, or to :PORT for all of them"
        return bad("port", f"cannot listen on {settings.addr} ({refusal.strerror or refusal})", do), False
    url = own_url(settings)
    try:
        with Client(url, timeout=TIMEOUT) as client:
            alive = _alive(client)
    except ConnectFailed as error:
        if settings.tls_cert:  # its certificate may be for another name
            do = "ask it by the name in its certificate: --url https://NAME:PORT"
            return doubtful("port", f"{settings.addr} is taken, perhaps by a foreman ({error.message})", do), False
        return _another(settings, error)
    except ClientError as error:
        return _another(settings, error)
    return good("port", f"{settings.addr}, a foreman {alive.version} listens there already"), True


def _another(settings: Settings, error: ClientError) -> tuple[Finding, bool]:
    do = f"stop it ('ss -ltnp sport = :{settings.port}' names it), or choose another port with --addr"
    return bad("port", f"{settings.addr} is taken by another program ({error.message})", do), False


def own_url(settings: Settings) -> str:
    """Return the URL of a Foreman with these settings, seen from this machine."""
    host = EVERYWHERE.get(settings.host, settings.host)
    return f"{'https' if settings.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def token(settings: Settings) -> Finding:
    """Check that a public address has a token."""
    if settings.token:
        return good("token", "callers must send one")
    if settings.only_loopback:
        return good("token", f"none, and none is needed: only this machine reaches {settings.addr}")
    do = "'foreman token' makes one: set FOREMAN_TOKEN, or FOREMAN_TOKEN_FILE to a file that holds it"
    if settings.insecure:
        return doubtful("token", f"everybody who reaches {settings.addr} may use it: insecure is set", do)
    return bad("token", f"{settings.addr} is open to other machines, and there is no token", do)


def certificate(settings: Settings) -> Finding:
    """Check that HTTPS can be served."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except OSError as error:
        why = (error.reason or "not in PEM") if isinstance(error, ssl.SSLError) else error.strerror
        return bad("tls", f"{settings.tls_cert} cannot be used with its key ({why})", "fix tls_cert and tls_key")
    return good("tls", settings.tls_cert)


def running(url: str, settings: Settings) -> Finding:
    """Check that the Foreman at `url` accepts the token, reaches its targets and gives jobs to all."""
    given = settings.token[0].get_secret_value() if settings.token else None
    with Client(url, given, timeout=TIMEOUT) as client:
        try:
            alive = _alive(client)
            queue = client.queue()
        except Unauthorized as error:
            missing = "asks for a token, and none is given" if given is None else f"refuses the token: {error.message}"
            return bad("foreman", f"the one at {url} {missing}", "set FOREMAN_TOKEN to one of its tokens")
        except ClientError as error:
            return bad("foreman", error.message, error.hint or "see its log")
    why = alive.target_error or "it does not answer"
    away = [target.name for target in queue.targets if not target.up]
    if away:
        names = ", ".join(away) if len(queue.targets) > 1 else "its target"
        do = f"start {'it' if len(away) == 1 else 'them'}; jobs that no other target can run wait"
        what = why if len(away) == 1 and why.startswith("cannot reach ") else f"cannot reach {names}: {why}"
        return bad("foreman", f"the one at {url} {what}", do)
    if failing := list(dict.fromkeys(one.model for one in queue.failing_models)):
        do = "see the log of the server; their jobs wait, and one is tried now and then"
        return bad("foreman", f"the one at {url} gets no answer from {', '.join(failing)}: {why}", do)
    if drained := [target.name for target in queue.targets if target.draining]:
        do = " && ".join(f"foreman resume {name}" for name in drained)
        return doubtful("foreman", f"the one at {url} gives no jobs to {', '.join(drained)}, which is drained", do)
    if queue.paused:
        return doubtful("foreman", f"the one at {url} is paused, {queue.queued:,} jobs wait", "foreman resume")
    return good("foreman", f"{alive.version} at {url}: {len(queue.running)} running, {queue.queued:,} waiting")


def _alive(client: Client) -> Alive:
    ask = requests.health()
    return requests.read(requests.Ask(Alive, ask.path), client.url, 200, {}, client.raw(ask))
