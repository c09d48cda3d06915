"""Many streams at once: chunks a second, the CPU that each takes, and how late they are."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.bench.daemon import child, serving
from tests.bench.figures import Figure, Wanted, middle, percentile
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import post

FAST, FAST_CHUNKS = 32, 4000  # streams that are read as fast as can be, and the chunks of each
MANY, RATE, SECONDS = 256, 40, 10  # streams at a pace, their chunks a second, and for how long
TIMEOUT = 120.0  # seconds for all streams of a round
READ_SIZE = 65_536  # bytes

STREAM = post("/api/chat", {"model": MODELS[0], **PAYLOAD, "stream": True})
_SENT = re.compile(rb'"content":"(\d+\.\d{6})"')


@dataclass(slots=True)
class Followed:
    """What came of the streams of one round."""

    seconds: float  # from the first chunk of all to the last
    lags: list[float]  # milliseconds from each chunk's sending to its arrival


async def streams(rounds: int) -> list[Figure]:
    """Streams as fast as they are read, and many at a pace, beside the target asked directly."""
    count = FAST * FAST_CHUNKS
    rates: dict[str, list[float]] = {"direct": [], "through": []}
    spent: list[float] = []
    lags: dict[str, list[float]] = {"direct": [], "through": []}
    with TemporaryDirectory() as folder:
        asked = ["--streams", str(FAST), "--chunks", str(FAST_CHUNKS)]
        async with (
            child("tests.bench.paced", *asked) as target,
            serving(Path(folder) / "fast", ollama_url=f"http://127.0.0.1:{target['port']}", slots=FAST) as daemon,
        ):
            for _ in range(rounds):
                rates["direct"].append(count / (await _followed(target["port"], FAST, FAST_CHUNKS)).seconds)
                before = _cpu(daemon.process.pid)
                rates["through"].append(count / (await _followed(daemon.port, FAST, FAST_CHUNKS)).seconds)
                spent.append((_cpu(daemon.process.pid) - before) / count * 1e6)
        asked = ["--streams", str(MANY), "--chunks", str(RATE * SECONDS), "--rate", str(RATE)]
        async with (
            child("tests.bench.paced", *asked) as target,
            serving(Path(folder) / "many", ollama_url=f"http://127.0.0.1:{target['port']}", slots=MANY) as daemon,
        ):
            for name, port in (("direct", target["port"]), ("through", daemon.port)):
                before = _cpu(daemon.process.pid)
                lags[name] += (await _followed(port, MANY, RATE * SECONDS)).lags
                paced = (_cpu(daemon.process.pid) - before) / (MANY * RATE * SECONDS) * 1e6
    late, direct = percentile(lags["through"], 0.99), percentile(lags["direct"], 0.99)
    many = f"{MANY} streams of {RATE}/s"
    way, alone = middle(rates["through"]), middle(rates["direct"])
    return [
        Figure(f"chunks of {FAST} streams", way, "chunks/s", "direct", alone, Wanted("≥", 30_000)),
        Figure("CPU of such a chunk", middle(spent), "µs", "without Foreman", 0, Wanted("≤", 33)),
        Figure(f"{many}, 99 % of the ways", late, "ms", "direct", direct, Wanted("≤", 50)),
        Figure("CPU of such a chunk", paced, "µs", "without Foreman", 0, Wanted("≤", 90)),
    ]


async def _followed(port: int, number: int, chunks: int) -> Followed:
    return await trio.to_thread.run_sync(_follow, port, number, chunks)


def _follow(port: int, number: int, chunks: int) -> Followed:
    """Ask for `number` streams at once and read them in one loop, with as little work for each chunk as can be."""
    pieces: dict[int, list[tuple[float, bytes]]] = {}
    connections: dict[int, socket.socket] = {}
    poll = select.epoll()
    try:
        for _ in range(number):
            connection = socket.create_connection(("127.0.0.1", port))
            connections[connection.fileno()] = connection
            pieces[connection.fileno()] = []
            connection.sendall(STREAM)
            connection.setblocking(False)
            poll.register(connection.fileno(), select.EPOLLIN)
        left, deadline = set(connections), time.monotonic() + TIMEOUT
        while left:
            for where, _ in poll.poll(1.0):
                data = os.read(where, READ_SIZE)
                pieces[where].append((time.perf_counter(), data))
                if not data:
                    raise ConnectionError("the server closed a stream")
                if data.endswith(b"0\r\n\r\n"):
                    left.discard(where)
                    poll.unregister(where)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} of {number} streams have not ended")
    finally:
        poll.close()
        for connection in connections.values():
            connection.close()
    lags: list[float] = []
    sent: list[float] = []
    for came in pieces.values():
        rest = b""
        for at, data in came:
            rest += data
            end = 0
            for found in _SENT.finditer(rest):
                sent.append(float(found[1]))
                lags.append((at - sent[-1]) * 1000)
                end = found.end()
            rest = rest[end:]
    if len(lags) != number * chunks:
        raise RuntimeError(f"{len(lags)} chunks instead of {number * chunks}")
    return Followed(max(came[-1][0] for came in pieces.values()) - min(sent), lags)


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
