"""An inference server that answers at once, in Ollama's words and OpenAI's: as fast as Python and a socket allow."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time

import trio

CHUNKS_PER_SECOND = 200
MODELS = ("m0", "m1", "m2")
STAMP = b'{"model":"m0","created_at":"2026-01-02T03:04:05.678901Z",'
_SAID = STAMP + b'"message":{"role":"assistant","content":"Hello there."},"done":false}\n'
_COUNTS = (
    b'"done_reason":"stop","total_duration":50,"load_duration":1,"prompt_eval_count":5,"prompt_eval_duration":9,'
    b'"eval_count":3,"eval_duration":40}\n'
)
LAST = STAMP + b'"message":{"role":"assistant","content":""},"done":true,' + _COUNTS
_WHOLE = STAMP + b'"message":{"role":"assistant","content":"Hello there."},"done":true,' + _COUNTS
_LOADED = STAMP + b'"response":"","done":true,"done_reason":"load"}\n'


def answer(body: bytes, kind: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


TAGS = answer(json.dumps({"models": [{"name": name, "model": name} for name in MODELS]}).encode(), b"application/json")
LOADED = answer(_LOADED, b"application/json")
EMBEDDED = answer(b'{"model":"m0","embeddings":[[%s]]}' % b",".join([b"0.0123"] * 384), b"application/json")
STREAMED = answer(_SAID + LAST, b"application/x-ndjson")
WHOLE = answer(_WHOLE, b"application/json")
_COMPLETION = b'data: {"id":"c","object":"chat.completion.chunk","created":1767323045,"model":"m0",%s}\n\n'
COMPLETED = answer(
    _COMPLETION % b'"choices":[{"index":0,"delta":{"role":"assistant","content":"Hello there."},"finish_reason":null}]'
    + _COMPLETION % b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]'
    + _COMPLETION % b'"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}'
    + b"data: [DONE]\n\n",
    b"text/event-stream",
)  # of OpenAI's API, streamed


async def serve(stream: trio.SocketStream, *, silent: bool, chunks: int) -> None:
    """One connection. A silent server takes chats and never answers them; one with `chunks` takes its time."""
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
                body, buffer = buffer[end + 4 : end + 4 + length], buffer[end + 4 + length :]
                if head.startswith(b"get "):
                    await stream.send_all(TAGS)
                elif head.startswith(b"post /api/generate"):
                    await stream.send_all(LOADED)
                elif head.startswith(b"post /api/embed"):
                    await stream.send_all(EMBEDDED)
                elif head.startswith(b"post /v1/chat/completions"):
                    await stream.send_all(COMPLETED)
                elif silent:
                    await trio.sleep_forever()
                elif chunks:
                    await paced(stream, chunks)
                else:
                    await stream.send_all(STREAMED if b'"stream":true' in body else WHOLE)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def paced(stream: trio.SocketStream, chunks: int) -> None:
    """CHUNKS_PER_SECOND, each with the moment it was sent."""
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    began = trio.current_time()
    for number in range(chunks):
        await trio.sleep_until(began + number / CHUNKS_PER_SECOND)
        said = b'%s"message":{"role":"assistant","content":"%.6f"},"done":false}\n' % (STAMP, time.perf_counter())
        await stream.send_all(b"%x\r\n%b\r\n" % (len(said), said))
    await stream.send_all(b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST))


async def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--silent", action="store_true", help="never answer a chat")
    parser.add_argument("--chunks", type=int, default=0, help="stream each chat as so many chunks, in their time")
    told = parser.parse_args(argv)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        handler = functools.partial(serve, silent=told.silent, chunks=told.chunks)
        nursery.start_soon(functools.partial(trio.serve_listeners, handler, listeners))
        print(json.dumps({"port": listeners[0].socket.getsockname()[1], "pid": os.getpid()}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
