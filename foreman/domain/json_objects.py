"""JSON objects out of the bodies of requests, read as the servers behind Foreman read them."""

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

# Fields that Foreman reads or sets in what goes to a target. Go, and with it every API of Ollama, takes the names of
# fields in any letter case, and the last of several: a second `Model` would get past all that was checked in `model`.
FIELDS = frozenset(
    {
        *("model", "name", "stream", "stream_options", "keep_alive", "options", "format", "think", "raw", "suffix"),
        *("messages", "prompt", "input", "system", "images", "tools", "tool_choice", "dimensions"),
        *("logprobs", "top_logprobs"),
    }
)
LONG_S = "\u017f"  # which Go takes for an `s` in another case
MOST_SIGNS = 12_000_000  # in one body; to walk over so many takes a tenth of a second, in which nothing else runs
MOST_FIELDS = 50_000  # of one object; making a dict of them takes some hundredths of a second, without a break
MOST_MENDED = 1_000_000  # pairs and halves looked at in one body; more would hold up everybody else

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_SURROGATE = re.compile(  # a whole pair, or a half
    rb"\\u[dD](?:[89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(?P<half>[89a-fA-F][\da-fA-F]{2}))"
)
_BACKSLASH, _NEVER = rb"\\", b"\xff\xff"  # an escaped one, and what stands for it where there is no broken UTF-8


def read_object(body: bytes, *, rest_ignored: bool = False) -> dict[str, msgspec.Raw]:
    """Return the fields of a JSON object, each value as it was written. Names out of FIELDS are taken in any letter
    case, and of several the last counts.

    Bytes that are no UTF-8 and halves of surrogate pairs cost their character: they become U+FFFD, as in Go's
    encoding/json. With `rest_ignored` whatever follows the object is overlooked. Raises InvalidJson.
    """
    if may_have_more(body, MOST_SIGNS):
        raise InvalidJson(f"more than {MOST_SIGNS} commas and brackets")
    if may_have_more(body, MOST_FIELDS, (b":",)) and has_more_items(body, MOST_FIELDS):
        raise InvalidJson(f"more than {MOST_FIELDS} fields")
    try:
        try:
            _check_text(body)  # msgspec does not look into strings it passes on
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
    """Raise UnicodeDecodeError unless all is UTF-8, in pieces: the whole as text may take four times its bytes."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    for start in range(0, len(body), PIECE):
        decode(memoryview(body)[start : start + PIECE])
    decode(b"", True)


def named(fields: dict[str, T], names: Set[str]) -> dict[str, T]:
    """Return an object whose fields have those of the `names` that they mean in any letter case; of several the last
    counts."""
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
    """Return the JSON value that a body begins with; all of it when it begins with none."""
    text = body.decode().lstrip(" \t\r\n")
    try:
        return text[: _scan(text)[1]].encode()
    except ValueError:
        return body
