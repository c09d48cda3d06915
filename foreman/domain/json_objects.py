"""Parsing of JSON request bodies, with the leniency of the servers behind Foreman."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Set
from typing import TypeVar

import msgspec

from foreman.domain.errors import InvalidJson
from foreman.domain.json_weight import PIECE, has_more_items, may_have_more

T = TypeVar("T")

# Fields that Foreman reads or sets in requests to a target. Go, and with it every API of Ollama, matches field names in
# any letter case and takes the last duplicate: a second `Model` would bypass the checks of `model`.
FIELDS = frozenset(
    {
        *("model", "name", "stream", "stream_options", "keep_alive", "options", "format", "think", "raw", "suffix"),
        *("messages", "prompt", "input", "system", "images", "tools", "tool_choice", "dimensions"),
        *("logprobs", "top_logprobs"),
    }
)
LONG_S = "\u017f"  # Go folds it to `s`
MOST_SIGNS = 12_000_000  # commas and brackets per body; scanning them blocks the event loop for a tenth of a second
MOST_FIELDS = 50_000  # per object; building their dict blocks the event loop for some hundredths of a second
MOST_MENDED = 1_000_000  # surrogates repaired per body; more would block the event loop too long

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_SURROGATE = re.compile(  # a whole pair, or a half
    rb"\\u[dD](?:[89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(?P<half>[89a-fA-F][\da-fA-F]{2}))"
)
_BACKSLASH, _NEVER = rb"\\", b"\xff\xff"  # an escaped backslash, and a stand-in that is never part of valid UTF-8


def read_object(body: bytes, *, rest_ignored: bool = False) -> dict[str, msgspec.Raw]:
    """Return the fields of a JSON object, each value as written.

    Names of FIELDS match in any letter case; the last duplicate counts. Invalid UTF-8 and lone surrogates become
    U+FFFD, as in Go's encoding/json. With `rest_ignored`, trailing data after the object is ignored.

    Raises:
        InvalidJson: The body is not a JSON object, nested too deeply, or has too many values.
    """
    if may_have_more(body, MOST_SIGNS):
        raise InvalidJson(f"more than {MOST_SIGNS} commas and brackets")
    if may_have_more(body, MOST_FIELDS, (b":",)) and has_more_items(body, MOST_FIELDS):
        raise InvalidJson(f"more than {MOST_FIELDS} fields")
    try:
        try:
            _check_text(body)  # msgspec does not validate the strings in raw values
            fields = _decode(body)
        except (UnicodeDecodeError, msgspec.DecodeError):
            fields = _decode(_first_value(_mended(body)) if rest_ignored else _mended(body))
    except RecursionError:
        raise InvalidJson("nested too deeply") from None
    except msgspec.ValidationError:
        raise InvalidJson("the body must be a JSON object") from None
    except msgspec.DecodeError as error:
        raise InvalidJson(str(error)) from None
    return named(fields, FIELDS)


def _check_text(body: bytes) -> None:
    """Raise UnicodeDecodeError for invalid UTF-8. Text may take four times its bytes, so it is decoded in pieces."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    for start in range(0, len(body), PIECE):
        decode(memoryview(body)[start : start + PIECE])
    decode(b"", True)


def named(fields: dict[str, T], names: Set[str]) -> dict[str, T]:
    """Return the fields renamed to the `names` they match in any letter case; the last duplicate counts."""
    if fields.keys() <= names:
        return fields
    found = {}
    for name, value in fields.items():
        folded = name.lower().replace(LONG_S, "s")
        found[folded if folded in names else name] = value
    return found


def _mended(body: bytes) -> bytes:
    text = body.decode("utf-8", "replace").encode().replace(_BACKSLASH, _NEVER)
    text = _SURROGATE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], text, MOST_MENDED)
    return text.replace(_NEVER, _BACKSLASH)


def _first_value(body: bytes) -> bytes:
    """Return the JSON value at the start of a body, or the whole body if it starts with none."""
    text = body.decode().lstrip(" \t\r\n")
    try:
        return text[: _scan(text)[1]].encode()
    except ValueError:
        return body
