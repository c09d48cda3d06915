"""What a scenario is: what the model meant to say, and the odd way in which its server says it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CHAT = "/v1/chat/completions"
TEXTS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
EMBEDDINGS = "/v1/embeddings"
NATIVE_CHAT = "/api/chat"
NATIVE_GENERATE = "/api/generate"
NATIVE_EMBED = "/api/embed"

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a tool; servers that give no id leave `id` empty."""

    name: str
    arguments: Mapping[str, object]
    id: str = ""


@dataclass(frozen=True)
class Meant:
    """One choice of an answer: what a caller shall get to see, however it was sent."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    tokens: tuple[int, int] | None = (3, 5)  # of the prompt and of the answer; None where the server does not count


@dataclass(frozen=True)
class Asked:
    """A request as the server read it."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    nth: int = 1  # how often this text was asked of this scenario, this time included

    @property
    def payload(self) -> Json:
        value = json.loads(self.body or b"{}")
        assert isinstance(value, dict)
        return value

    @property
    def model(self) -> str:
        """The scenario; on Ollama's own routes by any of the names that Ollama holds equal."""
        name = str(self.payload.get("model", ""))
        if self.path.startswith("/api/"):
            name = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
        return name.removesuffix(":latest")

    @property
    def streamed(self) -> bool:
        return bool(self.payload.get("stream", self.path in (NATIVE_CHAT, NATIVE_GENERATE)))

    @property
    def counted(self) -> bool:
        """Whether the usage was asked for in a stream."""
        return bool((self.payload.get("stream_options") or {}).get("include_usage"))


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer, and how they are sent."""

    body: Iterable[bytes]  # each piece is sent by itself
    status: int = 200
    media: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Literal["chunked", "length", "close", "by hand"] = "chunked"
    end: Literal["clean", "held", "broken"] = "clean"  # held: never ended; broken: cut off in the middle
    before: bytes = b""  # sent ahead of the status line


Say = Callable[[Asked], Answer]


@dataclass(frozen=True)
class Scenario:
    name: str
    path: str  # of the endpoint that is odd
    meant: tuple[Meant, ...] | tuple[tuple[float, ...], ...]  # choices, or embeddings; empty: the answer is a failure
    say: Say  # the streamed answer; the unstreamed one too where `whole` is not given
    whole: Say | None
    only: Literal["", "unstreamed", "uncounted"] = ""  # all that the server can do: no streams, no counts in them
    unread: Literal["", "streamed", "both"] = ""  # where the official SDK by itself does not get what was meant
    extra: Mapping[str, Any] = field(default_factory=dict)  # what is asked besides

    @property
    def kind(self) -> str:
        """The kind of target that its server is."""
        return "ollama" if self.path.startswith("/api/") else "openai"


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    path: str,
    *meant: Any,
    whole: Say | None,
    only: Literal["", "unstreamed", "uncounted"] = "",
    unread: Literal["", "streamed", "both"] = "",
    extra: Mapping[str, Any] | None = None,
    name: str = "",
) -> Callable[[Say], Say]:
    """Put a function that answers into the table, under its own name if no other is given."""

    def known(say: Say) -> Say:
        key = name or getattr(say, "__name__", "").replace("_", "-")
        assert re.fullmatch("[a-z0-9-]+", key) and key not in SCENARIOS, key
        SCENARIOS[key] = Scenario(key, path, meant, say, whole, only, unread, extra or {})
        return say

    return known


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A whole JSON answer."""
    return Answer([json.dumps(value).encode()], status, "application/json", headers or {}, framing="length")


def event(value: object, *, name: str = "") -> bytes:
    """A server-sent event."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return (b"event: %s\n" % name.encode() if name else b"") + b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")
