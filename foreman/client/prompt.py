"""Put prompt, system text, messages and images into the shape of each endpoint; no I/O."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from foreman.client.errors import ArgumentInvalid

_MEDIA = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}  # by their base64


def place_prompt(endpoint: str, prompt: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Move the input that the endpoint takes out of `given`; return it with the prompt as fields of the request.

    Raise ArgumentInvalid for images without a prompt.
    """
    match endpoint:
        case "/api/generate":
            found = {"prompt": prompt, "system": given.pop("system", None), "images": _images(given) or None}
            return {name: value for name, value in found.items() if value is not None}
        case "/v1/completions":
            if prompt is None:
                return {}
            system = given.pop("system", None)
            return {"prompt": f"{system}\n\n{prompt}" if system else prompt}
        case "/api/embed" | "/v1/embeddings":
            return {} if prompt is None else {"input": prompt}
        case "/v1/responses":
            system = given.pop("system", None)
            alone = prompt is not None and not given.keys() & {"messages", "images"}
            turns: Any = prompt if alone else _turns(endpoint, prompt, given)
            return ({"input": turns} if turns is not None else {}) | ({"instructions": system} if system else {})
        case "/v1/messages":
            system, turns = given.pop("system", None), _turns(endpoint, prompt, given)
            return ({"messages": turns} if turns is not None else {}) | ({"system": system} if system else {})
        case _:
            system, turns = given.pop("system", None), _turns(endpoint, prompt, given)
            turns = [{"role": "system", "content": system}, *(turns or [])] if system else turns
            return {} if turns is None else {"messages": turns}


def _turns(endpoint: str, prompt: str | None, given: dict[str, Any]) -> list[Any] | None:
    """Return the conversation with the prompt as its last turn; None without prompt and messages."""
    messages, images = given.pop("messages", None), _images(given)
    if prompt is None:
        if images:
            raise ArgumentInvalid("images are given without a prompt", "give a prompt, or put the images into messages")
        return None if messages is None else list(messages)
    return [*(messages or []), {"role": "user", "content": prompt} | _shown(endpoint, prompt, images)]


def _shown(endpoint: str, prompt: str, images: Sequence[str]) -> dict[str, Any]:
    """Return the fields that images add to a turn, or replace in it."""
    if not images:
        return {}
    match endpoint:
        case "/v1/chat/completions":
            parts = [{"type": "image_url", "image_url": {"url": _url(image)}} for image in images]
            return {"content": [{"type": "text", "text": prompt}, *parts]}
        case "/v1/responses":
            parts = [{"type": "input_image", "image_url": _url(image)} for image in images]
            return {"content": [{"type": "input_text", "text": prompt}, *parts]}
        case "/v1/messages":
            sources = [{"type": "base64", "media_type": _media(image), "data": image} for image in images]
            return {"content": [*({"type": "image", "source": source} for source in sources), _text(prompt)]}
        case _:
            return {"images": list(images)}


def _images(given: dict[str, Any]) -> list[str]:
    """Move the images out of `given`; return them as base64."""
    return [
        base64.b64encode(image).decode() if isinstance(image, bytes) else image.rpartition("base64,")[2]
        for image in given.pop("images", ())
    ]


def _text(prompt: str) -> dict[str, str]:
    return {"type": "text", "text": prompt}


def _url(image: str) -> str:
    return f"data:{_media(image)};base64,{image}"


def _media(image: str) -> str:
    return next((media for start, media in _MEDIA.items() if image.startswith(start)), "image/png")
