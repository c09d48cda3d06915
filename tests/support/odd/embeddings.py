"""Odd answers of `/v1/embeddings`, whose callers ask for two texts."""

from __future__ import annotations

import base64
import functools
import json
import struct

from tests.support.odd.scenario import EMBEDDINGS, Answer, Asked, Json, as_json, scenario

VECTORS = ((0.5, -1.0, 2.0), (0.25, 8.0, -0.5))

odd_embedding = functools.partial(scenario, EMBEDDINGS, whole=None)


def listed(*vectors: object, **top: object) -> Json:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "odd", "usage": {"prompt_tokens": 3, "total_tokens": 3}, **top}


def packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@odd_embedding(*VECTORS)
def vectors_as_asked(asked: Asked) -> Answer:
    """Base64 for those who ask for it, else numbers."""
    base64_asked = asked.payload.get("encoding_format") == "base64"
    return as_json(listed(*map(packed, VECTORS)) if base64_asked else listed(*VECTORS))


@odd_embedding(*VECTORS)
def vectors_as_numbers(asked: Asked) -> Answer:
    """Numbers, whatever was asked for."""
    return as_json(listed(*VECTORS))


@odd_embedding(*VECTORS)
def vectors_in_base64(asked: Asked) -> Answer:
    """Base64, whatever was asked for."""
    return as_json(listed(*map(packed, VECTORS)))


@odd_embedding(*VECTORS)
def vectors_out_of_order(asked: Asked) -> Answer:
    value = listed(*VECTORS)
    value["data"].reverse()
    return as_json(value)


@odd_embedding(*VECTORS)
def vectors_uncounted(asked: Asked) -> Answer:
    value = listed(*VECTORS)
    del value["usage"], value["object"]
    return as_json(value)


@odd_embedding(*VECTORS)
def vectors_in_json_of_many_lines(asked: Asked) -> Answer:
    return Answer([b"\n" + json.dumps(listed(*VECTORS), indent=2).encode() + b"\n"], media="text/plain")


@odd_embedding(unread="both")
def vectors_that_are_no_numbers(asked: Asked) -> Answer:
    """ollama/ollama#15582"""
    return as_json({"error": {"message": "failed to encode response: json: unsupported value: NaN"}}, 500)


@odd_embedding(unread="both")
def vectors_not_served(asked: Asked) -> Answer:
    return as_json({"error": "this model does not support embeddings"}, 501)
