"""Payloads on their way out: a few keys set, everything else as the caller wrote it; no I/O."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from foreman.domain.endpoints import COMPLETIONS, EMBEDDING, NATIVE, Endpoint
from foreman.domain.errors import TargetRefused
from foreman.domain.job import RELOADING_OPTIONS
from foreman.targets.answers.refusals import NOT_JSON

Fields = dict[str, msgspec.Raw]  # numbers, key order and text stay as they came

_TRUE = msgspec.Raw(b"true")
_NULL = msgspec.Raw(b"null")


class Question(msgspec.Struct, frozen=True):
    """What a target is asked: the caller's fields, and those that Foreman sets, which a server may refuse."""

    endpoint: Endpoint
    fields: dict[str, Any]  # JSON values or msgspec.Raw; the additions are among them
    additions: dict[str, Any] = {}  # in the order in which to give them up: what stands there without (None: nothing)
    whole: bool = False  # the caller wants no stream

    def given_up(self, name: str) -> frozenset[str]:
        """Return the additions that go with `name`: those that mean nothing without it. And a whole answer is counted
        by servers that count no stream, so a caller who wants no stream need not do without the usage."""
        both = name == "stream" or (name == "stream_options" and self.whole)
        return (frozenset({"stream", "stream_options"}) if both else frozenset({name})) & self.additions.keys()

    def payload(self, without: Collection[str] = ()) -> bytes:
        """Return the JSON to send, `without` some of the additions."""
        fields = dict(self.fields)
        for name in without:
            if (own := self.additions[name]) is None:
                fields.pop(name, None)
            else:
                fields[name] = own
        return msgspec.json.encode(fields)


def fields_of(payload: bytes | msgspec.Raw) -> Fields:
    """The top-level keys of a JSON object. Raises TargetRefused with status 400 for anything else."""
    try:
        return msgspec.json.decode(payload, type=Fields)
    except NOT_JSON as error:
        raise TargetRefused(400, f"the payload is not a JSON object ({error})") from error


def streaming(endpoint: Endpoint, payload: bytes, model: str | None = None) -> Question:
    """Return `payload` asking for a stream, usage included, and for another `model` if given."""
    fields = fields_of(payload)
    additions: dict[str, Any] = {}
    if model is not None:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    if endpoint in COMPLETIONS:
        given = fields.get("stream_options")
        fields["stream_options"] = _with_usage(given)
        if fields["stream_options"] != given:
            additions["stream_options"] = given
    if endpoint not in EMBEDDING:
        own = fields.get("stream", _NULL)
        by_default = endpoint in NATIVE and own == _NULL
        if own != _TRUE and not by_default:
            additions["stream"] = fields.get("stream")
        fields["stream"] = _TRUE
    return Question(endpoint, fields, additions, whole="stream" in additions)


def reload_options(fields: Fields) -> Fields:
    """Those of the payload's `options` that make Ollama load the model anew."""
    raw = fields.get("options")
    if raw is None or not bytes(raw).lstrip().startswith(b"{"):
        return {}
    options = fields_of(raw)
    return {name: options[name] for name in RELOADING_OPTIONS if name in options}


def _with_usage(given: msgspec.Raw | None) -> msgspec.Raw:
    options = {} if given is None or given == _NULL else fields_of(given)
    if options.get("include_usage") == _TRUE:
        assert given is not None
        return given
    options["include_usage"] = _TRUE
    return msgspec.Raw(msgspec.json.encode(options))
