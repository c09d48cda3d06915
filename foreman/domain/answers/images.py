"""Images in the answers of the different APIs, and their base64."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from foreman.domain.job import Artifact
from foreman.domain.json_weight import has_more_values

MOST_IMAGES = 256  # of one answer become artifacts; the others stay in the completion only

_HINTS = (b'"image', b"data:image/", b'"b64_json"')
_KINDS = {  # by content: the type that a server names may be wrong
    b"\x89PNG\r\n\x1a\n": ("image/png", "png"),
    b"\xff\xd8\xff": ("image/jpeg", "jpg"),
    b"GIF87a": ("image/gif", "gif"),
    b"GIF89a": ("image/gif", "gif"),
}


def images(answer: bytes) -> list[Artifact]:
    """Return the first MOST_IMAGES images of a final answer as `image-0.png`, …, in order of appearance.

    An answer of more than MOST_VALUES values is not searched: decoded it would take many times its size.
    """
    if not any(hint in answer for hint in _HINTS) or has_more_values(answer):
        return []
    found: list[Artifact] = []
    try:
        value = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the target did not stream
        return []
    for text in _texts(value):
        if len(found) == MOST_IMAGES:
            break
        data = _decoded(text)
        kind = _kind(data)
        if kind is not None:
            content_type, ending = kind
            found.append(Artifact(name=f"image-{len(found)}.{ending}", content_type=content_type, data=data))
    return found


def plain_base64(text: str) -> str | None:
    """Return base64 of any form in standard form, None if `text` is not base64.

    The standard form has + and /, padding, and neither line ends nor a `data:…;base64,` prefix.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().rstrip().endswith(";base64"):
            return None
    text = _SPACE.sub("", text).rstrip("=").translate(_STANDARD)
    if not _BASE64.fullmatch(text) or len(text) % 4 == 1:
        return None
    return text + "=" * (-len(text) % 4)


_SPACE = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")
_STANDARD = str.maketrans("-_", "+/")


def _texts(root: Any) -> Iterator[str]:
    """Yield the texts that may be images: data URIs anywhere, base64 at the keys of known APIs.

    Not recursive: an answer may be nested to any depth.
    """
    left: list[tuple[str, Any]] = [("", root)]  # the next one last
    while left:
        key, value = left.pop()
        if isinstance(value, str):
            if value.startswith("data:image/") or key in ("image", "images", "b64_json"):
                yield value
        elif isinstance(value, list):
            left += [(key, item) for item in reversed(value)]
        elif isinstance(value, dict):
            if value.get("type") == "image_generation_call" and isinstance(value.get("result"), str):
                yield value["result"]
            if value.get("type") == "base64" and isinstance(value.get("data"), str):
                yield value["data"]
            left += [(name, item) for name, item in reversed(value.items())]


def _decoded(text: str) -> bytes:
    plain = plain_base64(text)
    try:
        return base64.b64decode(plain) if plain else b""
    except binascii.Error:
        return b""


def _kind(data: bytes) -> tuple[str, str] | None:
    for magic, kind in _KINDS.items():
        if data.startswith(magic):
            return kind
    return ("image/webp", "webp") if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
