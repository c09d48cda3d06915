"""An inference server whose streams share one pace, in Ollama's words: at a rate, or as fast as they are read."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time

import trio

from tests.bench.instant import LAST, LOADED, STAMP, TAGS

BLOCK = 8  # chunks of a stream without a rate that leave in one write, each framed by itself
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stamped() -> bytes:
    """One chunk that says when it was sent."""
    content = b'"message":{"role":"assistant","content":"%.6f"},"done":false}\n' % time.perf_counter()
    return framed(STAMP + content)


END = framed(LAST) + b"0\r\n\r\n"


class Pace:
    """All streams begin once the last has come, and then take turns evenly; one task serves them with bare writes."""

    def __init__(self, streams: int, chunks: int, rate: float) -> None:
        self._streams, self._chunks, self._rate = streams, chunks, rate
        self._open: list[trio.SocketStream] = []
        self._over = trio.Event()

    async def stream(self, stream: trio.SocketStream) -> None:
        """Serve one answer."""
        await stream.send_all(HEAD)
        if not self._rate:
            for _ in range(self._chunks // BLOCK):
                await stream.send_all(b"".join([stamped() for _ in range(BLOCK)]))
            await stream.send_all(END)
            return
        over = self._over
        self._open.append(stream)
        if len(self._open) == self._streams:
            await self._serve(self._open)
            self._open, self._over = [], trio.Event()
            over.set()
        await over.wait()
        await stream.send_all(END)

    async def _serve(self, streams: list[trio.SocketStream]) -> None:
        began = trio.current_time()
        step = 1 / (self._rate * len(streams))
        due = began
        for number in range(self._chunks * len(streams)):
            due = began + number * step
            if (wait := due - trio.current_time()) > 0:
                await trio.sleep(wait)
            stream = streams[number % len(streams)]
            try:
                os.write(stream.socket.fileno(), stamped())
            except BlockingIOError:
                await stream.send_all(stamped())


async def serve(stream: trio.SocketStream, *, pace: Pace) -> None:
    """One connection."""
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    buffer = b""
    try:
        while data := await stream.receive_some(65_536):
            buffer += data
            while (end := buffer.find(b"\r\n\r\n")) >= 0:
                head = buffer[:end].lower()
                at = head.find(b"content-length:")
                length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                if len(buffer) < end + 4 + length:
                    break
                buffer = buffer[end + 4 + length :]
                if head.startswith(b"get "):
                    await stream.send_all(TAGS)
                elif head.startswith(b"post /api/generate"):
                    await stream.send_all(LOADED)
                else:
                    await pace.stream(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, required=True, help="chats that run side by side")
    parser.add_argument("--chunks", type=int, required=True, help="of each")
    parser.add_argument("--rate", type=float, default=0, help="chunks a second of each; 0: as fast as they are read")
    told = parser.parse_args(argv)
    pace = Pace(told.streams, told.chunks, told.rate)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(functools.partial(trio.serve_listeners, functools.partial(serve, pace=pace), listeners))
        print(json.dumps({"port": listeners[0].socket.getsockname()[1], "pid": os.getpid()}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
