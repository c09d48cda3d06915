"""Requests for a target: a few keys set, everything else as the caller wrote it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.errors import TargetRefused

Fields = dict[str, msgspec.Raw]  # numbers, key order and text stay as they came

_TRUE = msgspec.Raw(b"true")
_NULL = msgspec.Raw(b"null")


class Edits(msgspec.Struct, frozen=True):
    """What the operator has changed in every request for a model: keys left out, and keys set to a JSON value."""

    strip: frozenset[str] = frozenset()
    set: dict[str, Any] = {}

    def applied(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a request after the edits."""
        return {name: value for name, value in fields.items() if name not in self.strip} | self.set


class Question(msgspec.Struct, frozen=True):
    """A request for a target: the caller's fields, and those that Foreman sets and a server may refuse."""

    endpoint: str  # its path
    fields: dict[str, Any]  # JSON values or msgspec.Raw; the additions are among them
    additions: dict[str, Any] = {}  # name: value to send instead (None: leave it out), in the order to give them up
    whole: bool = False  # the caller wants no stream

    def edited(self, edits: Edits) -> Question:
        """Return the question after the operator's edits; what they name is no addition to be given up."""
        kept = {name: own for name, own in self.additions.items() if name not in edits.strip and name not in edits.set}
        return Question(self.endpoint, edits.applied(self.fields), kept, self.whole)

    def given_up(self, name: str) -> frozenset[str]:
        """Return the additions to give up together with `name`.

        `stream_options` means nothing without `stream`. For a caller who wants no stream both go: servers that do not
        count the tokens of a stream do count those of a whole answer.
        """
        both = name == "stream" or (name == "stream_options" and self.whole)
        return (frozenset({"stream", "stream_options"}) if both else frozenset({name})) & self.additions.keys()

    def payload(self, without: Collection[str] = ()) -> bytes:
        """Return the JSON to send, `without` the named additions."""
        fields = dict(self.fields)
        for name in without:
            if (own := self.additions[name]) is None:
                fields.pop(name, None)
            else:
                fields[name] = own
        return msgspec.json.encode(fields)


def fields_of(payload: bytes | msgspec.Raw) -> Fields:
    """Return the top-level keys of a JSON object. Raise TargetRefused with status 400 for anything else."""
    try:
        return msgspec.json.decode(payload, type=Fields)
    except NOT_JSON as error:
        raise TargetRefused(400, f"the payload is not a JSON object ({error})") from error


def unstreamed(path: str, payload: bytes, model: str | None = None) -> Question:
    """Return the question for `payload` as it is, with `model` set if given."""
    return Question(path, _with_model(fields_of(payload), model))


def streaming(path: str, payload: bytes, model: str | None, *, usage: bool, streams_by_default: bool) -> Question:
    """Return the question for `payload` with a stream asked for, and its `usage`; set `model` if given."""
    fields = _with_model(fields_of(payload), model)
    additions: dict[str, Any] = {}
    if usage:
        given = fields.get("stream_options")
        fields["stream_options"] = _with_usage(given)
        if fields["stream_options"] != given:
            additions["stream_options"] = given
    own = fields.get("stream", _NULL)
    if own != _TRUE and not (streams_by_default and own == _NULL):
        additions["stream"] = fields.get("stream")
    fields["stream"] = _TRUE
    return Question(path, fields, additions, whole="stream" in additions)


def _with_model(fields: Fields, model: str | None) -> Fields:
    if model is not None:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return fields


def _with_usage(given: msgspec.Raw | None) -> msgspec.Raw:
    options = {} if given is None or given == _NULL else fields_of(given)
    if options.get("include_usage") == _TRUE:
        assert given is not None
        return given
    options["include_usage"] = _TRUE
    return msgspec.Raw(msgspec.json.encode(options))
