"""Payloads on their way out: a few keys set, everything else as the caller wrote it; no I/O."""

from __future__ import annotations

import msgspec

from foreman.endpoints import COMPLETIONS, EMBEDDING, Endpoint
from foreman.errors import TargetRefused
from foreman.job import RELOADING_OPTIONS

Fields = dict[str, msgspec.Raw]  # numbers, key order and text stay as they came

_TRUE = msgspec.Raw(b"true")


def fields_of(payload: bytes | msgspec.Raw) -> Fields:
    """The top-level keys of a JSON object. Raises TargetRefused with status 400 for anything else."""
    try:
        return msgspec.json.decode(payload, type=Fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TargetRefused(400, f"the payload is not a JSON object ({error})") from error


def streaming(endpoint: Endpoint, payload: bytes, *, model: str | None = None, keep_alive: object = None) -> bytes:
    """`payload` asking for a stream, usage included; another `model` name and a default `keep_alive` if given."""
    fields = fields_of(payload)
    if model is not None:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    if endpoint not in EMBEDDING:
        fields["stream"] = _TRUE
    if endpoint in COMPLETIONS:
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    if keep_alive is not None and endpoint.startswith("/api/"):
        fields.setdefault("keep_alive", msgspec.Raw(msgspec.json.encode(keep_alive)))
    return msgspec.json.encode(fields)


def reload_options(fields: Fields) -> Fields:
    """Those of the payload's `options` that make Ollama load the model anew."""
    raw = fields.get("options")
    if raw is None or not bytes(raw).lstrip().startswith(b"{"):
        return {}
    options = fields_of(raw)
    return {name: options[name] for name in RELOADING_OPTIONS if name in options}


def _with_usage(given: msgspec.Raw | None) -> msgspec.Raw:
    options = {} if given is None or bytes(given).strip() == b"null" else fields_of(given)
    options["include_usage"] = _TRUE
    return msgspec.Raw(msgspec.json.encode(options))
