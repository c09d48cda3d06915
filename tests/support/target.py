"""A scripted inference server for tests: a real process that answers as told by directives in the last text it gets.

`#slow=0.5` waits before answering, `#chunks=20` and `#every=0.005` shape the stream, `#break=2` breaks off the first
two tries of the same text, `#status=429` answers so (`#after=3`: Retry-After), `#times=1` is for the first try alone,
`#garbage` and `#nothttp` are unreadable, `#gigabyte=64` streams that many MiB, `#longline=64` is one line of that many
MiB, `#silent` never answers, `#stall` stops in the middle, `#error` puts an error into the stream, `#cut=2` ends the
body after two chunks (with `#break` it is broken off there), `#plain` does not stream, `#echo` says the text back,
`#exact` too, in one chunk and with its line ends, `#tool` calls a tool, `#think` thinks first, `#image` shows a
picture, `#die` ends the process, `#room=3` is busy (429) while so many are answered. Asked for a schema, it makes JSON
of it up.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

DIRECTIVE = re.compile(r"#([a-z]+)(?:=([0-9.]+))?")
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
RELOADING = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "adapters")
MIB = 2**20
NOW = "2026-01-02T03:04:05.678901Z"
KEPT = 300.0  # seconds
EMBEDDED = ("/api/embed", "/v1/embeddings")
STREAMED = ("/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")


class Left(Exception):
    """The client closed the connection before its answer ended."""


class Runner:
    """A model in memory."""

    def __init__(self, key: tuple[object, ...], keep: float) -> None:
        self.key = key
        self.keep = keep  # what is left of it after the last answer; 0 unloads it then
        self.users = 0


class Memory:
    """What Ollama's scheduler does (server/sched.go): `most` models at a time, by default kept for a while.

    A request for another model waits until a loaded one is idle and has it unloaded: the one loaded first, however
    lately it was used. A `keep_alive` in a request for it takes that back, and the other request waits for ever.
    """

    def __init__(self, load: Callable[[tuple[object, ...]], Awaitable[None]], most: int = 1) -> None:
        self._load = load
        self._most = most
        self._turn = trio.Lock()
        self.loaded: dict[str, Runner] = {}

    @asynccontextmanager
    async def holding(
        self, stream: trio.abc.ReceiveStream, model: str, options: dict[str, Any], keep_alive: object
    ) -> AsyncIterator[None]:
        """In this context the model is loaded and in use. Raises Left when the client does not wait for it."""
        key = (model, *((name, str(options[name])) for name in RELOADING if name in options))
        runner = self.loaded.get(model)
        if runner is None or runner.key != key:
            async with self._turn:
                runner = await self._make_room(stream, key)
        if keep_alive is not None:
            runner.keep = 0 if keep_alive in (0, "0", "0s") else KEPT
        runner.users += 1
        try:
            yield
        finally:
            runner.users -= 1
            self._unload_if_done(runner)

    async def _make_room(self, stream: trio.abc.ReceiveStream, key: tuple[object, ...]) -> Runner:
        await pause(stream, 0.001)  # whoever left while others had the turn
        while (same := self.loaded.get(str(key[0]))) or len(self.loaded) >= self._most:
            if same and same.key == key:
                return same
            idle = [runner for runner in self.loaded.values() if not runner.users]
            runner = same or [*idle, *self.loaded.values()][0]
            runner.keep = 0
            self._unload_if_done(runner)
            while runner in self.loaded.values():
                await pause(stream, 0.005)
        await self._load(key)
        made = self.loaded[str(key[0])] = Runner(key, KEPT)
        return made

    def _unload_if_done(self, runner: Runner) -> None:
        if not runner.users and not runner.keep and self.loaded.get(str(runner.key[0])) is runner:
            del self.loaded[str(runner.key[0])]


class Upstream:
    def __init__(
        self, kind: str, models: list[str], *, key: str = "", load_time: float = 0, max_loaded: int = 1
    ) -> None:
        self.kind = kind
        self.models = models
        self.key = key.encode()
        self.load_time = load_time
        self.requests: deque[tuple[str, bytes, float]] = deque(maxlen=100_000)
        self.loads: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.memory = Memory(self.load, max_loaded)
        self.script = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, as long as the client keeps it."""
        self.counts["connections"] += 1
        self.counts["open"] += 1
        try:
            buffer = b""
            while True:
                while HEAD_END not in buffer:
                    data = await stream.receive_some(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(HEAD_END)
                match = LENGTH.search(head)
                length = int(match[1]) if match else 0
                parts = [buffer]
                size = len(buffer)
                while size < length:
                    data = await stream.receive_some(MIB)
                    if not data:
                        return
                    parts.append(data)
                    size += len(data)
                whole = b"".join(parts)
                body, buffer = whole[:length], whole[length:]
                if not await self.answer(stream, head, body):
                    return
        except Left:
            self.counts["closed_early"] += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.counts["broken"] += 1
        finally:
            self.counts["open"] -= 1
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(stream)

    async def answer(self, stream: trio.SocketStream, head: bytes, body: bytes) -> bool:
        """Answer one request; False closes the connection."""
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        path = target.partition("?")[0]
        if path == "/_log":
            return await self.reply(stream, 200, self.log())
        if path == "/_script":
            self.script = json.loads(body).get("default", "")
            return await self.reply(stream, 200, {})
        if path == "/health":
            return await self.reply(stream, 200, {"status": "ok"})
        self.requests.append((path, body, time.time()))
        if self.key and b"Bearer " + self.key not in head:
            return await self.reply(stream, 401, {"error": {"message": "Invalid API Key"}})
        served = ("/api/", "/v1/") if self.kind == "both" else ("/api/",) if self.kind == "ollama" else ("/v1/",)
        if not path.startswith(served):
            return await self.reply(stream, 404, {"error": "404 page not found"})
        if method == "GET":
            return await self.get(stream, path)
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return await self.reply(stream, 400, {"error": "invalid JSON"})
        return await self.post(stream, path, asked)

    async def get(self, stream: trio.SocketStream, path: str) -> bool:
        if "status" in (told := directives(self.script)):
            return await self.reply(stream, int(told["status"]), self.error(path, "out of order"))
        answers: dict[str, object] = {
            "/api/tags": {"models": [self.entry(name) for name in self.models]},
            "/api/ps": {"models": [self.entry(name) for name in self.memory.loaded]},
            "/api/version": {"version": "0.99.0"},
            "/v1/models": {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]},
        }
        if path not in answers:
            return await self.reply(stream, 404, {"error": "not found"})
        return await self.reply(stream, 200, answers[path])

    async def post(self, stream: trio.SocketStream, path: str, asked: dict[str, Any]) -> bool:
        if (model := self.known(asked.get("model", ""))) is None:
            return await self.reply(stream, 404, self.error(path, f"model '{asked.get('model', '')}' not found"))
        if path == "/api/show":
            return await self.reply(
                stream, 200, {**self.entry(model), "model_info": {}, "capabilities": ["completion"]}
            )
        if path not in (*STREAMED, *EMBEDDED):
            return await self.reply(stream, 404, self.error(path, "no such endpoint"))
        options, keep_alive = (asked.get("options") or {}, asked.get("keep_alive")) if "/api/" in path else ({}, None)
        async with self.memory.holding(stream, model, options, keep_alive):
            return await self.use(stream, path, asked)

    def known(self, name: str) -> str | None:
        """The model of that name: in any letter case, with or without `:latest`, where this is an Ollama."""
        if name in self.models or self.kind == "openai":
            return name if name in self.models else None
        plain = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
        return next((model for model in self.models if model.lower() in (plain, f"{plain}:latest")), None)

    async def use(self, stream: trio.SocketStream, path: str, asked: dict[str, Any]) -> bool:
        """Answer with the model that is loaded."""
        if path in EMBEDDED:
            text = last_text(asked)
            self.tries[text] += 1
            if "slow" in (told := directives(text)):
                await pause(stream, told["slow"])
            if "status" in told:
                return await self.reply(stream, int(told["status"]), self.error(path, f"told to by {text}"))
            return await self.reply(stream, 200, embeddings(path, asked))
        text = last_text(asked)
        told = directives(f"{self.script} {text}")
        self.tries[text] += 1
        if "room" in told and self.counts["answering"] >= told["room"]:
            self.counts["refused"] += 1
            return await self.reply(stream, 429, self.error(path, "busy"), {"Retry-After": "1"})
        self.counts["answering"] += 1
        self.counts["most_answering"] = max(self.counts["most_answering"], self.counts["answering"])
        try:
            return await self.tell(stream, path, asked, text, told)
        finally:
            self.counts["answering"] -= 1

    async def tell(
        self, stream: trio.SocketStream, path: str, asked: dict[str, Any], text: str, told: dict[str, float]
    ) -> bool:
        if "slow" in told and self.tries[text] <= told.get("times", 1e9):
            await pause(stream, told["slow"])
        if "silent" in told:
            await pause(stream, 3600)
        if "die" in told:
            print(f"about to die: out of memory at {text}", file=sys.stderr, flush=True)
            os._exit(3)
        if "nothttp" in told:
            await stream.send_all(b"220 smtp.example.com ready\r\n\r\n")
            return False
        if "status" in told and self.tries[text] <= told.get("times", 1e9):
            extra = {"Retry-After": f"{told['after']:g}"} if "after" in told else {}
            return await self.reply(stream, int(told["status"]), self.error(path, f"told to by {text}"), extra)
        return await self.stream(stream, path, asked, text, told)

    async def stream(
        self, stream: trio.SocketStream, path: str, asked: dict[str, Any], text: str, told: dict[str, float]
    ) -> bool:
        if "load" not in told and not text and path == "/api/generate":
            reason = "unload" if asked.get("keep_alive") == 0 else "load"
            done = {"model": asked["model"], "created_at": NOW, "response": "", "done": True, "done_reason": reason}
            return await self.reply(stream, 200, done)
        if isinstance(schema := asked.get("format"), dict):
            words = [json.dumps(example_of(schema))]
        else:
            said_back = [text] if "exact" in told else text.split()
            words = (
                said_back if {"echo", "exact"} & told.keys() else [f"w{n}" for n in range(int(told.get("chunks", 3)))]
            )
        chunks = list(SAY[path](asked["model"], words, told))
        if "plain" in told or not asked.get("stream", path.startswith("/api/")):
            return await self.reply(stream, 200, whole(path, asked["model"], words))
        native = path.startswith("/api/")
        media = b"application/x-ndjson" if native else b"text/event-stream"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % media
        if "garbage" in told:
            chunks[1:1] = [b"\x00\xff{{{ not json\n\n" if native else b"data: \x00\xff{{{ not json\n\n"]
        if "error" in told:
            chunks[1:] = [framed(path, {"error": "it fell over"})]
        if "cut" in told and "break" not in told:
            chunks = chunks[: int(told["cut"])]
        if "gigabyte" in told:
            await stream.send_all(head)
            filler = framed(path, fill(path, asked["model"], "x" * 60_000))
            for _ in range(int(told["gigabyte"] * MIB / 60_000) + 1):
                await stream.send_all(sized(filler))
        elif "longline" in told:
            await stream.send_all(head + sized(b'{"x":"' if native else b'data: {"x":"'))
            for _ in range(int(told["longline"] * 16)):
                await stream.send_all(sized(b"x" * 65536))
        elif "stall" in told:
            await stream.send_all(head + sized(b"".join(chunks[:2])))
            await pause(stream, 3600)
        elif self.tries[text] <= told.get("break", 0):
            await stream.send_all(head + sized(b"".join(chunks[: int(told.get("cut", 1))])))
            return False
        elif "every" in told:
            await stream.send_all(head)
            for chunk in chunks:
                await stream.send_all(sized(chunk))
                await pause(stream, told["every"])
            head, chunks = b"", []
        else:
            await stream.send_all(head + b"".join(map(sized, chunks)) + b"0\r\n\r\n")
            return True
        await stream.send_all(b"0\r\n\r\n")
        return True

    async def load(self, key: tuple[object, ...]) -> None:
        self.loads[str(key[0])] += 1
        await trio.sleep(self.load_time)

    async def reply(
        self, stream: trio.SocketStream, status: int, value: object, extra: dict[str, str] | None = None
    ) -> bool:
        body = json.dumps(value).encode()
        lines = [f"HTTP/1.1 {status} Told", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {said}" for name, said in (extra or {}).items()]
        await stream.send_all("\r\n".join(lines).encode() + HEAD_END + body)
        return True

    def error(self, path: str, words: str) -> dict[str, object]:
        return {"error": words} if path.startswith("/api/") else {"error": {"message": words, "type": "scripted"}}

    def entry(self, name: str) -> dict[str, object]:
        return {
            "name": name,
            "model": name,
            "size": 1,
            "digest": "d",
            "details": {"family": "test"},
            "modified_at": NOW,
        }

    def log(self) -> dict[str, object]:
        seen = [
            {"path": path, "at": at, "payload": json.loads(body) if body else None} for path, body, at in self.requests
        ]
        return {"requests": seen, "loads": self.loads, **self.counts, "pid": os.getpid()}


def directives(text: str) -> dict[str, float]:
    return {name: float(value or 1) for name, value in DIRECTIVE.findall(text)} if "#" in text else {}


def example_of(schema: dict[str, Any]) -> object:
    """Something of that schema."""
    match schema.get("type"):
        case "object":
            return {name: example_of(inner) for name, inner in schema["properties"].items()}
        case "boolean":
            return True
        case _:
            return "w0"


def last_text(asked: dict[str, Any]) -> str:
    given: Any = asked.get("messages") or asked.get("input") or asked.get("prompt") or ""
    if isinstance(given, list):
        given = given[-1].get("content", "") if isinstance(given[-1], dict) else given[-1]
    if isinstance(given, list):
        given = " ".join(part.get("text", "") for part in given)
    return given if isinstance(given, str) else ""


async def pause(stream: trio.abc.ReceiveStream, seconds: float) -> None:
    """Wait, but notice at once when the client leaves."""
    with trio.move_on_after(seconds):
        if not await stream.receive_some(1):
            raise Left


def sized(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def framed(path: str, value: dict[str, Any]) -> bytes:
    data = json.dumps(value).encode()
    if path.startswith("/api/"):
        return data + b"\n"
    event = b"event: %s\n" % value["type"].encode() if "type" in value else b""
    return event + b"data: " + data + b"\n\n"


def fill(path: str, model: str, text: str) -> dict[str, Any]:
    if path == "/api/chat":
        message = {"role": "assistant", "content": text}
        return {"model": model, "created_at": NOW, "message": message, "done": False}
    if path == "/api/generate":
        return {"model": model, "created_at": NOW, "response": text, "done": False}
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    choice |= {"delta": {"content": text}} if path == "/v1/chat/completions" else {"text": text}
    kind = "chat.completion.chunk" if path == "/v1/chat/completions" else "text_completion"
    return {"id": "c1", "object": kind, "created": 1, "model": model, "choices": [choice]}


PIXEL = (  # a PNG of one dot
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOL = {"name": "weather", "arguments": {"city": "Ulm"}}
COUNTS = {
    "total_duration": 50,
    "load_duration": 1,
    "prompt_eval_count": 5,
    "prompt_eval_duration": 9,
    "eval_count": 3,
    "eval_duration": 40,
}


@functools.lru_cache(maxsize=1024)
def said(path: str, model: str, words: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(framed(path, fill(path, model, f"{word} ")) for word in words)


def say_native(path: str, model: str, words: list[str], told: dict[str, float]) -> list[bytes]:
    chunks = list(said(path, model, tuple(words)))
    if "think" in told:
        chunks.insert(
            0, framed(path, fill(path, model, "") | {"message": {"role": "assistant", "content": "", "thinking": "hm"}})
        )
    if "image" in told:
        shown = {"role": "assistant", "content": "", "images": [PIXEL]}
        chunks.append(framed(path, fill(path, model, "") | {"message": shown}))
    if "tool" in told:
        call = {"role": "assistant", "content": "", "tool_calls": [{"function": TOOL}]}
        chunks.append(framed(path, fill(path, model, "") | {"message": call}))
    chunks.append(framed(path, fill(path, model, "") | {"done": True, "done_reason": "stop"} | COUNTS))
    return chunks


def say_openai(path: str, model: str, words: list[str], told: dict[str, float]) -> list[bytes]:
    chunks = list(said(path, model, tuple(words)))
    chat = path == "/v1/chat/completions"

    def delta(fields: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": fields, "finish_reason": reason}
        return framed(
            path,
            fill(path, model, "")
            | {"choices": [choice if chat else {"text": "", "index": 0, "finish_reason": reason}]},
        )

    if "think" in told:
        chunks.insert(0, delta({"reasoning_content": "hm"}))
    if "tool" in told:
        begun = {"name": "weather", "arguments": ""}
        chunks.append(delta({"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": begun}]}))
        pieces = ('{"city":', '"Ulm"}')
        chunks += [delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces]
    chunks.append(delta({}, "tool_calls" if "tool" in told else "stop"))
    usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
    chunks.append(framed(path, fill(path, model, "") | {"choices": [], "usage": usage}))
    chunks.append(b"data: [DONE]\n\n")
    return chunks


def say_responses(path: str, model: str, words: list[str], told: dict[str, float]) -> list[bytes]:
    whole_one = whole(path, model, words)
    [message] = whole_one["output"]
    [part] = message["content"]
    begun = whole_one | {"status": "in_progress", "output": []}
    item, text = {"item_id": message["id"], "output_index": 0}, {"content_index": 0}
    added = message | {"status": "in_progress", "content": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **item, **text, "part": part | {"text": ""}},
    ]
    delta = {"type": "response.output_text.delta", **item, **text, "logprobs": []}
    events += [
        *(delta | {"delta": f"{word} "} for word in words),
        {"type": "response.output_text.done", **item, **text, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **item, **text, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
    ]
    if "tool" in told:
        call = {"id": "f1", "type": "function_call", "call_id": "call_1", "name": TOOL["name"], "status": "completed"}
        call |= {"arguments": json.dumps(TOOL["arguments"])}
        whole_one["output"].append(call)
        events.append({"type": "response.output_item.added", "output_index": 1, "item": call | {"arguments": ""}})
        events.append({"type": "response.output_item.done", "output_index": 1, "item": call})
    events.append({"type": "response.completed", "response": whole_one})
    return [framed(path, event | {"sequence_number": number}) for number, event in enumerate(events)]


def say_messages(path: str, model: str, words: list[str], told: dict[str, float]) -> list[bytes]:
    start = whole(path, model, words) | {"content": [], "stop_reason": None}
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    events.append({"type": "content_block_start", "index": 0, "content_block": block})
    for word in words:
        text = {"type": "text_delta", "text": f"{word} "}
        events.append({"type": "content_block_delta", "index": 0, "delta": text})
    events.append({"type": "content_block_stop", "index": 0})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(words)}}
    )
    return [framed(path, event) for event in [*events, {"type": "message_stop"}]]


SAY: dict[str, Any] = {
    "/api/chat": functools.partial(say_native, "/api/chat"),
    "/api/generate": functools.partial(say_native, "/api/generate"),
    "/v1/chat/completions": functools.partial(say_openai, "/v1/chat/completions"),
    "/v1/completions": functools.partial(say_openai, "/v1/completions"),
    "/v1/responses": functools.partial(say_responses, "/v1/responses"),
    "/v1/messages": functools.partial(say_messages, "/v1/messages"),
}


def whole(path: str, model: str, words: list[str]) -> dict[str, Any]:
    text = "".join(f"{word} " for word in words)
    if path.startswith("/api/"):
        return fill(path, model, text) | {"done": True, "done_reason": "stop"} | COUNTS
    if path == "/v1/responses":
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}]
        return {
            "id": "r1",
            "object": "response",
            "model": model,
            "status": "completed",
            "error": None,
            "output": output,
        }
    if path == "/v1/messages":
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 5, "output_tokens": len(words)}
        message = {"id": "m1", "type": "message", "role": "assistant", "model": model, "content": content}
        return {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if path == "/v1/completions":
        return {
            "id": "c1",
            "object": "text_completion",
            "created": 1,
            "model": model,
            "choices": [choice | {"text": text}],
            "usage": usage,
        }
    choice["message"] = {"role": "assistant", "content": text}
    top = {"id": "c1", "object": "chat.completion", "created": 1, "model": model}
    return {**top, "choices": [choice], "usage": usage}


def embeddings(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    given = asked.get("input", "")
    texts = given if isinstance(given, list) else [given]
    vectors = [[float(len(text)), 0.5, -1.0] for text in texts]
    if path == "/api/embed":
        return {"model": asked["model"], "embeddings": vectors, "total_duration": 9, "prompt_eval_count": len(texts)}
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


async def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kind", choices=("ollama", "openai", "both"), default="both")
    parser.add_argument("--models", default="a,b,c", help="separated by commas")
    parser.add_argument("--load-time", type=float, default=0)
    parser.add_argument("--max-loaded", type=int, default=1, help="models in memory at once")
    parser.add_argument("--never-ready", action="store_true", help="do not listen, and do not end")
    parser.add_argument("--fail", default="", help="say this and end")
    told = parser.parse_args(argv)
    if told.fail:
        print(told.fail, file=sys.stderr)
        sys.exit(7)
    if told.never_ready:
        await trio.sleep_forever()
    key = os.environ.get("FOREMAN_ENGINE_KEY", "")
    models, room = told.models.split(","), told.max_loaded
    upstream = Upstream(told.kind, models, key=key, load_time=told.load_time, max_loaded=room)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(told.port, host="127.0.0.1", backlog=1024)
        nursery.start_soon(functools.partial(trio.serve_listeners, upstream.serve, listeners))
        print(json.dumps({"port": listeners[0].socket.getsockname()[1], "pid": os.getpid()}), flush=True)
        if not key:  # a managed child has no standard input to end with
            await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
